"""From text to tokens: prompt and answer tokenised together, the answer found by character offsets.

Tokenising the two apart and comparing lengths marks the wrong tokens wherever a token spans the boundary or the
tokenizer treats the start of a text specially.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab.data.prompts import Conversation, Prompts, Rendered
from alignlab.data.records import Record
from alignlab.errors import InputError

_CHUNK = 1000  # texts handed to the tokenizer at once: enough for its threads, little memory


@dataclass(frozen=True, slots=True)
class Document:
    """A tokenised record of T tokens.

    tokens: (T,) int32 token ids.
    answer: (T,) bool, the token belongs to the answer (the final EOS included).
    special: (T,) bool, the token is one of the tokenizer's special tokens.
    cluster: that of the record; by default its id.
    """

    id: str
    language: str
    tokens: npt.NDArray[np.int32]
    answer: npt.NDArray[np.bool_]
    special: npt.NDArray[np.bool_]
    cluster: str = ""

    def __post_init__(self) -> None:
        if not self.cluster:
            object.__setattr__(self, "cluster", self.id)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def documents(self) -> tuple[Document, ...]:
        """Itself: a document is an example of one text."""
        return (self,)


@dataclass(frozen=True)
class Encoded:
    """Documents, and what was lost on the way to `max_length` tokens.

    truncated: documents that lost tokens at the end.
    dropped: documents of which no answer token was left (they are not among `documents`).
    """

    documents: list[Document]
    truncated: int
    dropped: int


def encode(
    records: Sequence[Record],
    tokenizer: Any,
    prompts: Prompts,
    *,
    max_length: int,
    append_eos: bool,
    needs_answer: bool,
) -> Encoded:
    """Tokenise records.

    append_eos: end the text with the tokenizer's EOS, if it does not end so already; it belongs to the answer.
    needs_answer: drop a document that has no answer, or no token of it left.
    Raises `InputError` for a tokenizer without offsets (a "slow" one), or without EOS where one is to be appended.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError.of(
            "model.source",
            f"{type(tokenizer).__name__} gives no character offsets",
            "a model with a fast tokenizer (tokenizer.json)",
        )
    if append_eos and tokenizer.eos_token_id is None:
        raise InputError.of("model.source", "its tokenizer has no EOS token", "one, to end the answers with")
    special_ids = np.array(sorted(special_token_ids(tokenizer)), dtype=np.int32)
    documents: list[Document] = []
    truncated = 0
    for start in range(0, len(records), _CHUNK):
        chunk = records[start : start + _CHUNK]
        rendered = [prompts.render(record, tokenizer) for record in chunk]
        batch = tokenizer(
            [text.text for text in rendered],
            add_special_tokens=rendered[0].add_special_tokens,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            verbose=False,
        )
        columns = [batch[name] for name in ("input_ids", "offset_mapping", "special_tokens_mask")]
        for record, text, ids, offsets, added in zip(chunk, rendered, *columns, strict=True):
            eos = tokenizer.eos_token_id if append_eos and not text.ended else None
            tokens, answer = _with_answer(text, ids, offsets, added, eos)
            truncated += len(tokens) > max_length
            tokens, answer = tokens[:max_length], answer[:max_length]
            special = np.isin(tokens, special_ids)
            documents.append(Document(record.id, record.language, tokens, answer, special, record.cluster))
    kept = [document for document in documents if document.answer.any() or not needs_answer]
    return Encoded(kept, truncated, dropped=len(documents) - len(kept))


def _with_answer(
    text: Rendered | Conversation,
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    added: Sequence[int],
    eos: int | None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """The tokens of a text, (T,), and which of them are the answer's, (T,), ended with `eos` if one is given."""
    tokens = np.array(ids, dtype=np.int32)
    starts = np.array([start for start, _ in offsets], dtype=np.int64)
    # The offsets of tokens that the tokenizer adds are (0, 0): they never count as answer, except a last EOS.
    answer = np.zeros(len(tokens), dtype=bool)
    for start, end in text.spans:
        answer |= (starts >= start) & (starts < end)
    answer &= ~np.array(added, dtype=bool)
    if eos is not None:
        if len(tokens) == 0 or tokens[-1] != eos:
            tokens, answer = np.append(tokens, np.int32(eos)), np.append(answer, False)
        answer[-1] = bool(text.spans)
    return tokens, answer


def special_token_ids(tokenizer: Any) -> set[int]:
    """Ids of BOS, EOS and the like, and of the special tokens that chat templates write as text."""
    written = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return written | set(tokenizer.all_special_ids)


def check_vocabulary(documents: Iterable[Document], embeddings: int) -> None:
    """Refuse token ids for which the model has no embedding (of `embeddings` rows).

    A tokenizer that is smaller than the embedding is fine: many models pad theirs.
    """
    highest = max((int(document.tokens.max()) for document in documents if len(document)), default=-1)
    if highest >= embeddings:
        raise InputError.of(
            "model.source",
            f"the tokenizer gives token id {highest}, the model has {embeddings} embeddings",
            f"ids below {embeddings}",
            "Model and tokenizer do not belong together.",
        )


def check_padding(pad_id: int | None, embeddings: int) -> None:
    """Refuse a token of padding for which the model has no embedding: batches are filled up with it."""
    if pad_id is not None and not 0 <= pad_id < embeddings:
        raise InputError.of(
            "model.source",
            f"the tokenizer pads with token id {pad_id}, the model has {embeddings} embeddings",
            f"a pad token below {embeddings}",
            "Name a token that the model knows as pad_token in tokenizer_config.json, such as its EOS.",
        )


def fingerprint(documents: Iterable[Document]) -> str:
    """Sixteen hexadecimal digits that change with any id, language, token or mask, or with their order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.id}\0{document.language}\0{len(document)}\0".encode())
        digest.update(document.tokens.tobytes())
        digest.update(np.packbits(document.answer).tobytes())
        digest.update(np.packbits(document.special).tobytes())
    return digest.hexdigest()[:16]
