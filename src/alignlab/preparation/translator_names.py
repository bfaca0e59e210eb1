"""What a translation model's tokenizer calls languages, and texts as it gives them to the encoder and the decoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab import languages
from alignlab.data.encoding import special_token_ids
from alignlab.errors import InputError, Problem, UnsupportedModelError, refuse_any

Tokens = npt.NDArray[np.int32]
_CHUNK = 1000  # texts handed to the tokenizer at once
# The language to translate into, as a word in the text: >>fra<< of Marian's models of several, <2fr> of MADLAD-400.
_IN_TEXT = re.compile(r">>\w+<<|<2\w+>")


@dataclass(frozen=True)
class Names:
    """What a tokenizer calls languages, by ISO code; empty for one that has no names, of a model of one direction."""

    tokenizer: Any
    spelled: Mapping[str, str]

    def encode(self, texts: Sequence[str], code: str, *, target: bool, most: int) -> tuple[list[Tokens], int]:
        """The tokens of texts as the encoder reads them, or with `target` those that the decoder is to give.

        Special tokens are the tokenizer's own, among them that of the language. Longer texts are cut to `most` tokens,
        their special tokens kept. Returns too how many were cut.
        """
        if self.spelled:
            setattr(self.tokenizer, "tgt_lang" if target else "src_lang", self.spelled[code])
        found: list[Tokens] = []
        cut = 0
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            ids = self._ids(chunk, target)
            if long := [place for place, tokens in enumerate(ids) if len(tokens) > most]:
                shorter = self._ids([chunk[place] for place in long], target, truncation=True, max_length=most)
                for place, tokens in zip(long, shorter, strict=True):
                    ids[place] = tokens
                cut += len(long)
            found += [np.array(tokens, dtype=np.int32) for tokens in ids]
        return found, cut

    def knows(self, texts: Iterable[Tokens]) -> bool:
        """Whether any token of these texts is more than a special one, as the unknown token and those of languages."""
        special = np.array(sorted(special_token_ids(self.tokenizer)), dtype=np.int32)
        return any(not np.isin(tokens, special).all() for tokens in texts)

    def _ids(self, texts: list[str], target: bool, **options: Any) -> list[list[int]]:
        given = {"text_target" if target else "text": texts}
        found = self.tokenizer(**given, return_attention_mask=False, verbose=False, **options)["input_ids"]
        return [list(tokens) for tokens in found]


def names_of(tokenizer: Any, codes: Iterable[str], given: Mapping[str, str], key: str) -> Names:
    """What the tokenizer calls these languages, tried out on a text.

    A tokenizer whose source language can be set knows languages by a special token, such as jpn_Jpan (NLLB), __ja__
    (M2M100, which is told ja) or ja_XX (mBART-50).

    given: names by code that stand before those found.  key: the config key that gives them.
    Raises InputError, with all its problems, where a language has no name.
    """
    codes = list(dict.fromkeys(codes))
    if not hasattr(tokenizer, "src_lang"):
        return _without_names(tokenizer, given, key)
    tokens = _tokens(tokenizer)
    spelled: dict[str, str] = {}
    problems = []
    for code in codes:
        candidates = [given[code]] if code in given else _candidates(code, tokens)
        known = [name for name in candidates if name in tokens]
        if known:
            spelled[code] = known[0]
            continue
        found = f"the tokenizer has no token {given[code]!r}" if code in given else "the tokenizer has no token for it"
        fix = f"Name its token in {key}, such as {key}={{{code}: {_like(code)}}}, or leave the language out."
        problems.append(Problem(f"{key}.{code}", f"{languages.get(code).name}: {found}", "one that it knows", fix))
    refuse_any(problems)
    names = Names(tokenizer, spelled)
    _try_out(names, tokens, key)
    return names


def _tokens(tokenizer: Any) -> dict[str, int]:
    """Token ids by all that may be a language's name: special tokens, without the underscores of __ja__, and those
    names of which a tokenizer has a table.
    """
    special = special_token_ids(tokenizer) - {tokenizer.unk_token_id}
    found = {str(tokenizer.convert_ids_to_tokens(index)): index for index in special}
    found |= {match[1]: index for token, index in found.items() if (match := re.fullmatch(r"__(\w+)__", token))}
    return found | dict(getattr(tokenizer, "lang_code_to_id", {}))


def _candidates(code: str, tokens: Iterable[str]) -> list[str]:
    """Names that translation models use, the most exact first."""
    nllb = languages.get(code).nllb
    with_country = sorted(token for token in tokens if re.fullmatch(rf"{re.escape(code)}_[A-Z]{{2}}", token))
    return [*([nllb] if nllb else []), code, *(with_country if len(with_country) == 1 else [])]


def _like(code: str) -> str:
    return languages.get(code).nllb or f"{code}_XX"


def _try_out(names: Names, tokens: Mapping[str, int], key: str) -> None:
    """Refuse a tokenizer that does not put the language's token into texts, whichever way it is told."""
    problems = []
    for code, name in names.spelled.items():
        for target in (False, True):
            (text,), _ = names.encode(["1"], code, target=target, most=16)
            if tokens[name] not in text:
                side = "target" if target else "source"
                found = f"{type(names.tokenizer).__name__} puts no token of {name} into a {side} text"
                problems.append(Problem(f"{key}.{code}", found, "one that tells the model the language"))
    refuse_any(problems)


def _without_names(tokenizer: Any, given: Mapping[str, str], key: str) -> Names:
    written = sorted(token for token in tokenizer.get_vocab() if _IN_TEXT.fullmatch(token))
    if written:
        found = f"its tokenizer wants the language to translate into as a word in the text, such as {written[0]}"
        raise UnsupportedModelError.of("model.source", found, "a model of one direction, or one with language tokens")
    if given:
        found = f"names of languages, but {type(tokenizer).__name__} has none"
        raise InputError.of(key, found, "none, for a model of one direction")
    return Names(tokenizer, {})
