"""Published files of counts: one torch file a language, a dict with the tokens and a (L, N) tensor of firings.

lape: ``activation.<code>.<tag>`` with ``n`` and ``over_zero`` (Tang et al. 2024).
ternary: ``activation.<code>.<tag>.pt`` with ``total_tokens`` and ``over_zero``, over prompt and response, and a twin
    ``prefix.activation.<code>.<tag>.pt`` over the prompt alone (Zhang et al. 2025).
arithmetic: as lape, with ``average_activations`` over ``activation_counts`` tokens, both (L, N) (Gurgurov et al. 2025).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import MOST
from alignlab.neurons.formats.files import load_torch, save_torch, unfit

TWIN = "prefix."
EXPECTED = "a torch file of counts"


def load_lape_counts(folder: Path | str, languages: Sequence[str], tag: str | None = None) -> ActivationCounts:
    """Counts as written by the code of LAPE, over all tokens. See `load_ternary_counts` for the rest."""
    paths, tag = _paths(Path(folder), languages, tag)
    return _record([_read(path) for path in paths], languages, "all", tag)


def load_arithmetic_counts(folder: Path | str, languages: Sequence[str], tag: str | None = None) -> ActivationCounts:
    """Counts with mean activations, which become `activation_sum`. See `load_ternary_counts` for the rest."""
    paths, tag = _paths(Path(folder), languages, tag)
    read = [_read(path) for path in paths]
    sums = []
    for path, file in zip(paths, read, strict=True):
        for key in ("average_activations", "activation_counts"):
            tensor = file.content.get(key)
            found = unfit(tensor, 2, integers=True, floats=True)
            if tensor is None:
                found = "missing"
            elif not found and tensor.shape != file.firings.shape:
                found = f"shape {tuple(tensor.shape)}"
            if found:
                raise InputError(Problem(f"{path}, {key}", found, f"a tensor of {tuple(file.firings.shape)}"))
        # A mean over no token is NaN in the file; the sum over none is 0.
        times = _whole(f"{path}, activation_counts", file.content["activation_counts"], file.tokens).double()
        sums.append(torch.where(times > 0, file.content["average_activations"].double() * times, 0.0))
    return replace(_record(read, languages, "all", tag), activation_sum=torch.stack(sums))


def load_ternary_counts(
    folder: Path | str,
    languages: Sequence[str],
    tag: str | None = None,
    scope: Literal["response", "all"] = "response",
) -> ActivationCounts:
    """Counts as written by the code of the ternary method; one shard, and an unknown number of documents (0).

    folder: with ``activation.<code>.<tag>.pt`` and ``prefix.activation.<code>.<tag>.pt``.
    languages: the codes in the names of the files, in the order wanted.
    tag: the part of the names after the code; None where all files have the same.
    scope: ``response`` subtracts the prefix from the full text; ``all`` reads the full text only.

    The two passes rounded differently: where the difference is negative it is set to 0, as the published code does, and
    where it exceeds the tokens it stays (the published code has p > 1 there). A warning counts both.

    Raises InputError for files that are missing, that would execute, that hold something else, or do not fit together.
    """
    paths, tag = _paths(Path(folder), languages, tag)
    if scope == "all":
        return _record([_read(path) for path in paths], languages, scope, tag)
    raw = [_difference(_read(path), _read(path.with_name(TWIN + path.name))) for path in paths]
    negative = sum(int((file.firings < 0).sum()) for file in raw)
    excess = sum(int((file.firings > file.tokens).sum()) for file in raw)
    if negative or excess:
        cells = sum(file.firings.numel() for file in raw)
        text = f"{Path(folder)}: of {cells:,} counts of the response, full text minus prompt, {negative:,} are negative"
        text += f" and set to 0, {excess:,} exceed the tokens and are kept: two passes do not round alike"
        warnings.warn(text, stacklevel=2)
    kept = [replace(file, firings=file.firings.clamp_min(0)) for file in raw]
    return _record(kept, languages, scope, tag, subtracted=excess > 0)


def _difference(full: _File, prefix: _File) -> _File:
    _require_same_shape(full, prefix)
    if prefix.tokens > full.tokens:
        expected = f"at most the {full.tokens} of {full.path.name}"
        raise InputError(Problem(f"{prefix.path}", f"{prefix.tokens} tokens", expected))
    return replace(full, tokens=full.tokens - prefix.tokens, firings=full.firings - prefix.firings)


def save_lape_counts(counts: ActivationCounts, folder: Path | str, tag: str) -> None:
    """Write what `load_lape_counts` reads, shards summed. Raises OSError when it cannot be written."""
    for language, tokens, firings in _summed(counts):
        save_torch(Path(folder) / f"activation.{language}.{tag}", {"n": tokens, "over_zero": firings})


def save_arithmetic_counts(counts: ActivationCounts, folder: Path | str, tag: str) -> None:
    """Write what `load_arithmetic_counts` reads. Raises InputError for counts without `activation_sum`."""
    if counts.activation_sum is None:
        raise InputError(Problem("counts", "they have no activation_sum", "the sums of the activations"))
    for (language, tokens, firings), total in zip(_summed(counts), counts.activation_sum, strict=True):
        content = {
            "n": tokens,
            "over_zero": firings,
            "average_activations": total / tokens,
            "activation_counts": torch.full_like(firings, tokens),
        }
        save_torch(Path(folder) / f"activation.{language}.{tag}", content)


def save_ternary_counts(counts: ActivationCounts, folder: Path | str, tag: str) -> None:
    """Write what `load_ternary_counts` reads; counts of responses get twins over no tokens at all."""
    for language, tokens, firings in _summed(counts):
        path = Path(folder) / f"activation.{language}.{tag}.pt"
        save_torch(path, {"total_tokens": tokens, "over_zero": firings})
        if counts.scope == "response":
            none = {"total_tokens": 0, "over_zero": torch.zeros_like(firings)}
            save_torch(path.with_name(TWIN + path.name), none)


COUNT_FORMATS: dict[str, Callable[..., ActivationCounts]] = {
    "lape": load_lape_counts,
    "ternary": load_ternary_counts,
    "arithmetic": load_arithmetic_counts,
}


@dataclass(frozen=True)
class _File:
    path: Path
    tokens: int
    firings: Tensor
    content: dict[str, Any]


def _paths(folder: Path, languages: Sequence[str], tag: str | None) -> tuple[list[Path], str]:
    """The file of each language and the tag."""
    if not languages:
        raise InputError(Problem("languages", "not given", "the codes in the names of the files, in order"))
    try:
        there = {entry.name for entry in folder.iterdir()}
    except OSError:
        raise InputError(Problem(f"{folder}", "there is no such folder", "a folder of counts")) from None
    tag = _tag(there, folder, languages, tag)
    paths = {code: folder / f"activation.{code}.{tag}" for code in languages}
    paths |= {code: with_suffix for code in languages if (with_suffix := Path(f"{paths[code]}.pt")).name in there}
    refuse_any(
        [
            Problem(
                f"{folder}",
                f"there is no activation.{code}.{tag}, with or without .pt",
                f"a file for {code!r}; tags that it has: {', '.join(sorted(_tags(there, code))) or 'none'}",
            )
            for code, path in paths.items()
            if path.name not in there
        ]
    )
    return [paths[code] for code in languages], tag


def _tags(there: Collection[str], code: str) -> set[str]:
    start = f"activation.{code}."
    return {name.removeprefix(start).removesuffix(".pt") for name in there if name.startswith(start)}


def _tag(there: Collection[str], folder: Path, languages: Sequence[str], tag: str | None) -> str:
    if tag is not None:
        return tag.removesuffix(".pt")
    tags = {code: _tags(there, code) for code in languages}
    common = set.intersection(*tags.values())
    if len(common) > 1:
        found = f"several tags: {', '.join(sorted(common))}"
        raise InputError(Problem(f"{folder}", found, "one", "Pass tag=... to say which."))
    if not common:
        every = ", ".join(f"{code} ({', '.join(sorted(its)) or 'none'})" for code, its in tags.items())
        expected = f"activation.<code>.<tag> for each; tags that are there: {every}"
        raise InputError(Problem(f"{folder}", "no tag has a file for every language", expected))
    return common.pop()


def _read(path: Path) -> _File:
    """One file: its tokens, its firings as (L, N) int64, and all it holds."""
    content = load_torch(path, EXPECTED)
    if not isinstance(content, dict):
        raise InputError(Problem(f"{path}", f"it holds a {type(content).__name__}", f"a dict, {EXPECTED}"))
    tokens = content.get("total_tokens", content.get("n"))
    if isinstance(tokens, Tensor) and not unfit(tokens, tokens.ndim, integers=True, floats=True):
        tokens = tokens.item() if tokens.numel() == 1 else tokens
    if not isinstance(tokens, int | float) or isinstance(tokens, bool) or tokens % 1 != 0 or not 0 <= tokens <= MOST:
        found = repr(tokens)[:60]
        raise InputError(Problem(f"{path}, total_tokens or n", found, "the number of tokens, from 0 to 2^53"))
    return _File(path, int(tokens), _whole(f"{path}, over_zero", content.get("over_zero"), int(tokens)), content)


def _whole(where: str, counts: Any, tokens: int) -> Tensor:
    """Numbers of tokens, (L, N), as int64; refuses those that their type cannot have counted."""
    found = unfit(counts, 2, integers=True, floats=True)
    if found or 0 in counts.shape:
        found = found or f"shape {tuple(counts.shape)}"
        raise InputError(Problem(where, found, "a dense tensor of (layers, neurons), of integers"))
    whole: Tensor = counts.long()
    name = str(counts.dtype).removeprefix("torch.")
    if not counts.is_floating_point() and tokens > (most := torch.iinfo(counts.dtype).max):
        found = f"{name}, which cannot count the {tokens:,} tokens: beyond {most:,} it begins again"
        raise InputError(Problem(where, found, "a larger integer type", "Count again with one."))
    if counts.is_floating_point() and not bool((whole == counts).all()):
        raise InputError(Problem(where, "values that are no whole numbers", "numbers of tokens"))
    if counts.is_floating_point() and int(whole.max()) >= (most := _exact(counts.dtype)):
        found = f"{int(whole.max())} in {name}, which cannot count beyond {most}"
        raise InputError(Problem(where, found, "an integer type", "Count again with one."))
    if int(whole.min()) < 0:
        raise InputError(Problem(where, f"{int(whole.min())}", "no negative count"))
    return whole


def _exact(dtype: torch.dtype) -> int:
    """Where adding 1 to a float begins to change nothing: 2^8 for bfloat16, 2^11 for float16, 2^24 for float32."""
    return round(2 / torch.finfo(dtype).eps)


def _require_same_shape(first: _File, *others: _File) -> None:
    expected = f"{tuple(first.firings.shape)}, as {first.path.name}"
    refuse_any(
        [
            Problem(f"{file.path}, over_zero", f"shape {tuple(file.firings.shape)}", expected)
            for file in others
            if file.firings.shape != first.firings.shape
        ]
    )


def _record(
    read: Sequence[_File], languages: Sequence[str], scope: str, tag: str, subtracted: bool = False
) -> ActivationCounts:
    _require_same_shape(*read)
    tokens = torch.tensor([[file.tokens] for file in read])
    return ActivationCounts(
        languages=tuple(languages),
        firings=torch.stack([file.firings for file in read]).unsqueeze(1),
        tokens=tokens,
        documents=torch.zeros_like(tokens),
        site="mlp.act",
        scope=scope,
        model=tag,
        subtracted=subtracted,
    )


def _summed(counts: ActivationCounts) -> Iterator[tuple[str, int, Tensor]]:
    """Name, tokens and (L, N) firings of each language, the latter int32, as published, where that suffices."""
    for language, tokens, firings in zip(counts.languages, counts.language_tokens(), counts.totals(), strict=True):
        yield language, int(tokens), firings if int(firings.max()) >= 1 << 31 else firings.int()
