"""The record of what a model did with the items of a task: for each item, under each arm, whether it was right.

An arm is what was done to the model meanwhile, such as switching neurons off; `none` is the model as it is. Axes are
always ``(item, arm)`` = ``(I, A)``. Single answers are kept, not accuracies, so that any group of languages, interval
or paired comparison can be derived later. The texts of the answers lie beside the record; see
:mod:`alignlab.recording.responses_file`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from alignlab.checksums import read_checked
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.headed_file import HeadedFormat, contents_of
from alignlab.neurons.short_repr import in_words
from alignlab.redaction import hide

NO_INTERVENTION = "none"
ABSTAINED = -1

_NAMES = (tuple[str, ...], "a JSON list of names")
_TENSORS = {"right": torch.bool, "output_language": torch.int16, "tokens": torch.int32, "ended": torch.bool}
EFFECTS = HeadedFormat(
    name="alignlab-effects",
    what="effects on the items of a task",
    writer="Effects.save",
    texts=("task", "model", "revision", "reference", "data_fingerprint", "clusters", "answers_checksum"),
    values={
        "arms": _NAMES,
        "languages": _NAMES,
        "trained_languages": _NAMES,
        "step": (int | None, "an integer or null"),
    },
    tensors=("items", *_TENSORS),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A problem of a task in one language.

    id: the same for the problems of all languages that say the same thing.
    cluster: what it shares with items that are not independent of it, such as a template.
    expected: the number that is right, exactly, such as `12` or `3/4`.
    seen: whether its cluster is in the training data too; None where that is not known.
    """

    id: str
    language: str
    cluster: str
    expected: str
    seen: bool | None = None


_ITEMS = TypeAdapter(list[tuple[str, str, str, str, bool | None]])


@dataclass(frozen=True, eq=False)
class Effects:
    """What a model answered, item by item and arm by arm, with where it comes from.

    items: I, in the order of the first axis; no language has an id twice.
    arms: A names, in the order of the second axis; unique.
    languages: those that the answers were told apart among; unique.
    right: (I, A) bool, the last number of the answer is the expected one.
    output_language: (I, A) int16, place of the answer's language in `languages`; -1 where none could be told.
    tokens: (I, A) int32, of the answer, the EOS included.
    ended: (I, A) bool, an EOS ended it before it was cut.
    task: its name.  data_fingerprint: of the prompts, what is expected and how long answers may be.
    model, revision, step, trained_languages, reference: as for `ActivationCounts`.
    clusters: what the clusters of items are, such as `templates`; empty where each document is one.
    answers_checksum: of the file with the texts of the answers; empty where there is none.

    Raises InputError with every inconsistency.

        >>> import torch
        >>> from alignlab.recording.effects import Effects, Item
        >>> items = (Item("0", "en", "0", "12"), Item("0", "de", "0", "12"))
        >>> right, language = torch.tensor([[True], [False]]), torch.tensor([[0], [0]], dtype=torch.int16)
        >>> tokens = torch.tensor([[9], [7]], dtype=torch.int32)
        >>> effects = Effects(items, ("none",), ("en", "de"), right, language, tokens, right, task="sums", step=20)
        >>> effects
        <Effects: sums, 2 items x 1 arms, step 20
         right (none) in 2 languages: en 1 of 1, de 0 of 1>
        >>> effects.in_language.tolist()
        [[True], [False]]
        >>> effects.save("effects.safetensors")
        >>> Effects.load("effects.safetensors").items[1].expected
        '12'
    """

    items: tuple[Item, ...]
    arms: tuple[str, ...]
    languages: tuple[str, ...]
    right: Tensor
    output_language: Tensor
    tokens: Tensor
    ended: Tensor
    task: str = ""
    model: str = ""
    revision: str = ""
    step: int | None = None
    trained_languages: tuple[str, ...] = ()
    reference: str = REFERENCE
    data_fingerprint: str = ""
    clusters: str = ""
    answers_checksum: str = ""

    def __post_init__(self) -> None:
        refuse_any(_problems(self))

    def __repr__(self) -> str:
        facts = [hide(self.task) or "a task", f"{len(self.items)} items x {len(self.arms)} arms"]
        facts += [f"step {self.step}"] if self.step is not None else []
        facts += [f"model {hide(self.model)}"] if self.model else []
        of = [item.language for item in self.items]
        asked = Counter(of)
        right = Counter(language for language, hit in zip(of, self.right[:, 0].tolist(), strict=True) if hit)
        counts = in_words([f"{language} {right[language]} of {number}" for language, number in asked.items()])
        return f"<Effects: {', '.join(facts)}\n right ({self.arms[0]}) in {len(asked)} languages: {counts}>"

    @property
    def item_languages(self) -> tuple[str, ...]:
        """The languages of the items, in the order in which they first appear."""
        return tuple(dict.fromkeys(item.language for item in self.items))

    @property
    def in_language(self) -> Tensor:
        """Whether the answer is in the language of its item, (I, A) bool; False where no language could be told."""
        of = torch.tensor([self.languages.index(item.language) for item in self.items], dtype=torch.int16)
        return self.output_language == of.unsqueeze(1)

    def save(self, path: Path | str) -> None:
        """Write the record, whole or not at all. Raises OSError where it cannot be written."""
        # As a tensor: thousands of ids are no header.
        written = json.dumps([astuple(item) for item in self.items], ensure_ascii=False).encode()
        # Copies: safetensors takes no tensor twice, such as a `right` that is also `ended`.
        tensors = {name: getattr(self, name).to(dtype, copy=True) for name, dtype in _TENSORS.items()}
        items = torch.frombuffer(bytearray(written), dtype=torch.uint8)
        EFFECTS.save(Path(path), {"items": items, **tensors}, self)

    @classmethod
    def load(cls, path: Path | str) -> Effects:
        """Read a record. Raises InputError where it is missing, damaged, of another format or inconsistent."""
        path = Path(path)
        with EFFECTS.opened(path) as (file, header):
            tensors: dict[str, Any] = read_checked(path, file)
        try:
            items = _ITEMS.validate_json(bytes(tensors.pop("items").numpy().tobytes()), strict=False)
        except ValidationError:
            expected = "a list of id, language, cluster, expected number and whether it was seen"
            raise InputError(Problem(f"{path}", "its items are no such list", expected)) from None
        with contents_of(path):
            return cls(tuple(Item(*item) for item in items), **{name: tensors[name] for name in _TENSORS}, **header)


def _problems(effects: Effects) -> list[Problem]:
    shape = (len(effects.items), len(effects.arms))
    problems = [
        Problem(name, f"the shape {tuple(tensor.shape)}", f"{shape}, items and arms")
        for name in _TENSORS
        if tuple((tensor := getattr(effects, name)).shape) != shape
    ]
    problems += [Problem(name, "none", "one or more") for name, count in zip(("items", "arms"), shape, strict=True)
                 if not count]  # fmt: skip
    problems += [
        Problem(name, f"{_twice(getattr(effects, name))!r} twice", "unique names")
        for name in ("arms", "languages")
        if _twice(getattr(effects, name)) is not None
    ]
    keys = [(item.language, item.id) for item in effects.items]
    if (pair := _twice(keys)) is not None:
        problems.append(Problem("items", f"{pair[1]!r} twice in {pair[0]!r}", "an id once in each language"))
    if unknown := [name for name in effects.item_languages if name not in effects.languages]:
        problems.append(Problem("items", f"in {' '.join(unknown)}", f"some of {' '.join(effects.languages)}"))
    for name in ("right", "ended"):
        if getattr(effects, name).dtype != torch.bool:
            problems.append(Problem(name, f"{getattr(effects, name).dtype}", "torch.bool"))
    found = effects.output_language
    if found.numel() and not (int(found.min()) >= ABSTAINED and int(found.max()) < len(effects.languages)):
        expected = f"{ABSTAINED} (none told) to {len(effects.languages) - 1}, places in the languages"
        problems.append(Problem("output_language", f"{int(found.min())} to {int(found.max())}", expected))
    if effects.tokens.numel() and int(effects.tokens.min()) < 0:
        problems.append(Problem("tokens", f"{int(effects.tokens.min())}", "0 or more"))
    return problems


def _twice(values: Sequence[Any]) -> Any:
    """The first value that is there twice; None where all are unique."""
    return next((value for value, count in Counter(values).items() if count > 1), None)
