"""The file of a model's responses to a probe: a line of JSON each, in the order of the probe.

Keys: `language` and `id` of the document; `prompt`, as text; `tokens`, the ids of the response, EOS included; `ended`,
whether an EOS ended it before it was cut; `text`, the response without special tokens; `checksum`, of all these, by
which a line that was damaged is found. Files from before there were checksums have none and are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab.atomic import write_text
from alignlab.checksums import damaged, of_values
from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.recording.generation import Response
from alignlab.recording.probes import PromptProbe


def responses_text(
    prompts: Sequence[Document],
    responses: Sequence[Response],
    tokenizer: Any,
    found: Sequence[Mapping[str, object]] | None = None,
) -> str:
    """The text of the file. found: for each response what else its line says."""
    rows = [
        {
            "language": prompt.language,
            "id": prompt.id,
            "prompt": text_of(tokenizer, prompt.tokens, special=True),
            "tokens": response.tokens.tolist(),
            "ended": response.ended,
            "text": text_of(tokenizer, response.tokens),
            **more,
        }
        for prompt, response, more in zip(prompts, responses, found or [{}] * len(prompts), strict=True)
    ]
    lines = [json.dumps(row | {"checksum": of_values(row)}, ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def write_responses(path: Path, prompts: Sequence[Document], responses: Sequence[Response], probe: PromptProbe) -> None:
    """Write the file, whole or not at all. Raises OSError when it cannot be written."""
    write_text(path, responses_text(prompts, responses, probe.tokenizer))


def read_responses(path: Path, prompts: Sequence[Document], probe: PromptProbe) -> list[Response]:
    """The responses to the prompts, in their order.

    Raises `InputError` where the file is missing, damaged, or holds responses to other prompts or cut elsewhere.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        fix = "Give the folder in which the run has been tracked from its start."
        raise InputError.of(f"{path}", "there is no such file", "the responses counted before", fix) from None
    except UnicodeDecodeError:
        raise _refusal(path, "it is no text in UTF-8") from None
    if lines.pop() or len(lines) != len(prompts):
        raise _refusal(path, f"it holds {len(lines)} whole lines for {len(prompts)} prompts")
    return [
        _parsed(path, number, line, prompt, probe)
        for number, (line, prompt) in enumerate(zip(lines, prompts, strict=True), start=1)
    ]


def _parsed(path: Path, number: int, line: str, prompt: Document, probe: PromptProbe) -> Response:
    """The response of a line. In a file that only `write_responses` has written nothing of this is ever found."""
    try:
        row = json.loads(line)
    except ValueError:
        raise _refusal(path, f"line {number} is no JSON") from None
    if not isinstance(row, dict) or not {"language", "id", "prompt", "tokens", "ended"} <= row.keys():
        raise _refusal(path, f"line {number} is no response")
    if row.pop("checksum", None) not in (None, of_values(row)):
        raise damaged(path, f"line {number}")
    expected = (prompt.language, prompt.id, text_of(probe.tokenizer, prompt.tokens, special=True))
    if (row["language"], row["id"], row["prompt"]) != expected:
        raise _refusal(path, f"line {number} answers another prompt than {prompt.language!r}, {prompt.id!r}")
    tokens, ended = row["tokens"], row["ended"]
    if not _are_ids(tokens) or not isinstance(ended, bool):
        raise _refusal(path, f"line {number} holds no token ids")
    if len(tokens) > probe.max_new_tokens or not (ended or len(tokens) == probe.max_new_tokens):
        raise _refusal(path, f"line {number} has a response of {len(tokens)} tokens, cut elsewhere")
    return Response(np.array(tokens, dtype=np.int32), ended)


def _are_ids(tokens: Any) -> bool:
    return (
        isinstance(tokens, list) and bool(tokens) and all(type(token) is int and 0 <= token < 2**31 for token in tokens)
    )


def text_of(tokenizer: Any, tokens: npt.NDArray[np.int32], *, special: bool = False) -> str:
    """What tokens say; special: special tokens too."""
    return str(tokenizer.decode(tokens.tolist(), skip_special_tokens=not special))


def _refusal(path: Path, found: str) -> InputError:
    expected = "the responses of this run to its probe"
    return InputError.of(f"{path}", found, expected, "Restore the file, or give another folder.")
