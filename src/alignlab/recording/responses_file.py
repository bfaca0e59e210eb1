"""The file of a model's responses to a probe, or of its answers to problems: a line of JSON each, in their order.

Keys: `language` and `id` of the document; `prompt`, as text; `tokens`, the ids of the response, EOS included; `ended`,
whether an EOS ended it before it was cut; `text`, the response without special tokens; `checksum`, of all these, by
which a line that was damaged is found. Files from before there were checksums have none and are read as they are.

Lines of answers also have `expected`, `right` and `output_language`; where a model answered under several arms, the
answers under the first come first, and their lines also have what the arm is: `arm`, its name, `set`, `operation`,
`strength`, `control` and `seed`, as in `recording.effects.ArmLabel`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab.atomic import write_text
from alignlab.checksums import damaged, of_values
from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.manifest import checksum
from alignlab.recording.generation import Response
from alignlab.recording.probes import PromptProbe
from alignlab.regular_files import open_regular


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


def check_answers(path: Path, written: str) -> None:
    """Refuse a file of answers that is not the one beside whose record it was written.

    written: the checksum in that record.  Raises InputError, also where there is no such file.
    """
    if not path.is_file():
        raise InputError.of(f"{path}", "there is no such file", "the texts of the answers")
    if checksum(path) != written:
        raise InputError.of(f"{path}", "it is not as it was written", "the texts of the answers")


def read_answers(path: Path, lines: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
    """The answers in a file by the number of their line, from 0; of the others nothing is kept.

    lines: which are read; None for all.
    Raises InputError where the file cannot be read, or what is read of it is damaged.
    """
    rows = {}
    try:
        with open_regular(path) as file:  # which ends lines at line feeds alone: a text may hold other ends of lines
            for number, line in enumerate(file):
                if lines is None or number in lines:
                    rows[number] = _answer(path, number, line)
    except OSError as error:
        raise InputError.of(f"{path}", f"it cannot be read ({error})", "the texts of the answers") from None
    if missing := set(lines or ()) - rows.keys():
        raise damaged(path, f"line {min(missing) + 1}")
    return rows


def _answer(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        whole = row.pop("checksum") == of_values(row)
    except (ValueError, KeyError, AttributeError, RecursionError, TypeError):
        whole = False
    if not whole:
        raise damaged(path, f"line {number + 1}")
    found: dict[str, Any] = row
    return found


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
