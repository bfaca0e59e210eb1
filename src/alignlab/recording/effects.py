"""The record of what a model did with items: for each item, under each arm, what it answered or how likely a text was.

An arm is what was done to the model meanwhile, such as switching neurons off; `none` is the model as it is. Axes are
always ``(item, arm)`` = ``(I, A)``. Single items are kept, not accuracies or perplexities, so that any group of
languages, interval or paired comparison can be derived later. The texts of answers lie beside the record; see
:mod:`alignlab.recording.responses_file`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
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


@dataclass(frozen=True, slots=True)
class ArmLabel:
    """What an arm is.

    name: unique in a record, such as `zero zh` or `zero zh, matched 3`.
    set: the set whose neurons are changed.  operation: what becomes of them, such as `zero`.
    strength: of the operation, where it has one.
    control: `random` or `matched` neurons in place of the set, or another baseline such as `prompt`; empty where the
        set itself is changed.
    seed: with which the control was drawn.
    digest: of all its edits (`recording.arms.digest_of`): arms of one digest do the same.
    """

    name: str
    set: str = ""
    operation: str = ""
    strength: float | None = None
    control: str = ""
    seed: int | None = None
    digest: str = ""


BASELINE = ArmLabel(NO_INTERVENTION)

_NAMES = (tuple[str, ...], "a JSON list of names")
# What is measured, in groups that a record has as a whole or not at all: the type of each tensor, and its axes.
ANSWERS = {
    "right": (torch.bool, "IA"),
    "output_language": (torch.int16, "IA"),
    "tokens": (torch.int32, "IA"),
    "ended": (torch.bool, "IA"),
}
LIKELIHOODS = {"nats": (torch.float64, "IA"), "counted": (torch.int64, "I")}
OPTIONS = {
    "option_nats": (torch.float64, "IAO"),
    "option_tokens": (torch.int64, "IO"),
    "option_characters": (torch.int64, "IO"),
}
VALUES = {"values": (torch.float64, "IAM")}
OBJECTS = {"option_alike": (torch.bool, "IO")}
_GROUPS = {
    "answers": ANSWERS,
    "likelihoods": LIKELIHOODS,
    "likelihoods of options": OPTIONS,
    "objects in languages": OBJECTS,
    "values": VALUES,
}
TENSORS = ANSWERS | LIKELIHOODS | OPTIONS | OBJECTS | VALUES
# What a group may lack: of a translation no number is right.
_OPTIONAL = ("right",)
EFFECTS = HeadedFormat(
    name="alignlab-effects",
    what="effects on the items of a task",
    writer="Effects.save",
    texts=("task", "model", "revision", "reference", "data_fingerprint", "clusters", "answers_checksum"),
    values={
        "arms": _NAMES,
        "labels": (tuple[ArmLabel, ...], "a JSON list of what the arms are"),
        "languages": _NAMES,
        "trained_languages": _NAMES,
        "step": (int | None, "an integer or null"),
        "measures": _NAMES,
    },
    tensors=("items",),
    defaults={"labels": None, "measures": ()},
)


@dataclass(frozen=True, slots=True)
class Item:
    """A problem of a task, a text or a choice between texts, in one language.

    id: the same for the items of all languages that say the same thing.
    cluster: what it shares with items that are not independent of it, such as a template.
    expected: the number that is right, exactly, such as `12` or `3/4`; of a choice the place of the right option, from
        0; empty where nothing is right.
    seen: whether its cluster is in the training data too; None where that is not known.
    """

    id: str
    language: str
    cluster: str
    expected: str = ""
    seen: bool | None = None


_ITEMS = TypeAdapter(list[tuple[str, str, str, str, bool | None]])


@dataclass(frozen=True, eq=False)
class Effects:
    """What a model did, item by item and arm by arm, with where it comes from.

    items: I, in the order of the first axis; no language has an id twice.
    labels: A, in the order of the second axis; their names are unique.
    languages: those that answers were told apart among, or that the options are in; unique.

    Of answers, all or none:
    right: (I, A) bool, the last number of the answer is the expected one; None where no number is expected.
    output_language: (I, A) int16, place of the answer's language in `languages`; -1 where none could be told.
    tokens: (I, A) int32, of the answer, the EOS included.
    ended: (I, A) bool, an EOS ended it before it was cut.

    Of the likelihood of a text, both or none:
    nats: (I, A) float64, the negative log-likelihoods of its counted tokens, summed; NaN or infinite where the model's
        numbers under the arm are.
    counted: (I,) int64, how many tokens these are.

    Of the likelihoods of up to O options, all or none; what an item has fewer is NaN and 0 at the end:
    option_nats: (I, A, O) float64, of all tokens of an option behind the prompt, summed.
    option_tokens, option_characters: (I, O) int64, the length of an option.

    Of other numbers, such as what another library counts in an answer:
    values: (I, A, M) float64; NaN where an item has none.
    measures: M, what they are, in the order of the last axis; unique.

    Of options that say the same in each of `languages`, in their order; `expected` is the one in the item's own:
    option_alike: (I, O) bool, the option is scored on the same tokens as the item's own.

    task: its name.
    data_fingerprint: of the prompts, what is expected and how long answers may be; of documents, what is counted.
    model, revision, step, trained_languages, reference: as for `ActivationCounts`.
    clusters: what the clusters of items are, such as `templates`; empty where each document is one.
    answers_checksum: of the file with the texts of the answers; empty where there is none.

    Raises InputError with every inconsistency.

        >>> import torch
        >>> from alignlab.recording.effects import BASELINE, ArmLabel, Effects, Item
        >>> items = (Item("0", "en", "0", "12"), Item("0", "de", "0", "12"))
        >>> right, language = torch.tensor([[True], [False]]), torch.tensor([[0], [0]], dtype=torch.int16)
        >>> tokens = torch.tensor([[9], [7]], dtype=torch.int32)
        >>> effects = Effects(items, (BASELINE,), ("en", "de"), right, language, tokens, right, task="sums", step=20)
        >>> effects
        <Effects: sums, 2 items x 1 arms, step 20
         right (none) in 2 languages: en 1 of 1, de 0 of 1>
        >>> effects.in_language.tolist()
        [[True], [False]]
        >>> effects.save("effects.safetensors")
        >>> Effects.load("effects.safetensors").items[1].expected
        '12'
        >>> off = ArmLabel("zero de", set="de", operation="zero")
        >>> nats = torch.tensor([[20.0, 21.0], [30.0, 60.0]], dtype=torch.float64)
        >>> Effects(items, (BASELINE, off), nats=nats, counted=torch.tensor([10, 10]))
        <Effects: a task, 2 items x 2 arms
         nats per token (none) in 2 languages: en 2.000, de 3.000>
    """

    items: tuple[Item, ...]
    labels: tuple[ArmLabel, ...]
    languages: tuple[str, ...] = ()
    right: Tensor | None = None
    output_language: Tensor | None = None
    tokens: Tensor | None = None
    ended: Tensor | None = None
    nats: Tensor | None = None
    counted: Tensor | None = None
    option_nats: Tensor | None = None
    option_tokens: Tensor | None = None
    option_characters: Tensor | None = None
    values: Tensor | None = None
    measures: tuple[str, ...] = ()
    option_alike: Tensor | None = None
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
        lines = [f"<Effects: {', '.join(facts)}", *_measured(self)]
        return "\n ".join(lines) + ">"

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms."""
        return tuple(label.name for label in self.labels)

    @property
    def item_languages(self) -> tuple[str, ...]:
        """The languages of the items, in the order in which they first appear."""
        return tuple(dict.fromkeys(item.language for item in self.items))

    @property
    def in_language(self) -> Tensor:
        """Whether the answer is in the language of its item, (I, A) bool; False where no language could be told."""
        of = torch.tensor([self.languages.index(item.language) for item in self.items], dtype=torch.int16)
        return self.measured("output_language") == of.unsqueeze(1)

    def measured(self, name: str) -> Tensor:
        """The tensor of a name, such as `right`. Raises InputError where the record has none."""
        tensor: Tensor | None = getattr(self, name)
        if tensor is None:
            held = " and ".join(what for what, group in _GROUPS.items() if _there(self, group))
            raise InputError.of("effects", f"they hold {held}, and no {name}", f"a record with {name}")
        return tensor

    def save(self, path: Path | str) -> None:
        """Write the record, whole or not at all. Raises OSError where it cannot be written."""
        # As a tensor: thousands of ids are no header.
        written = json.dumps([astuple(item) for item in self.items], ensure_ascii=False).encode()
        items = torch.frombuffer(bytearray(written), dtype=torch.uint8)
        # Copies: safetensors takes no tensor twice, such as a `right` that is also `ended`.
        there = _there(self, TENSORS)
        tensors = {name: getattr(self, name).to(dtype, copy=True) for name, (dtype, _) in there.items()}
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
        # Of records from before arms had labels the names are known.
        names, labels = header.pop("arms"), header.pop("labels")
        header["labels"] = labels if labels is not None else tuple(ArmLabel(name) for name in names)
        with contents_of(path):
            return cls(tuple(Item(*item) for item in items), **_known(tensors), **header)


def joined(records: Sequence[Effects]) -> Effects:
    """Records of the same items under different arms as one, in their order; an arm that several have is the first's.

    Raises InputError where they differ in anything but their arms.
    """
    first = records[0]
    same = [one.name for one in fields(Effects) if one.name not in (*TENSORS, "labels", "answers_checksum")]
    shared = [name for name, (_, axes) in TENSORS.items() if "A" not in axes]
    different = [name for name in same if any(getattr(one, name) != getattr(first, name) for one in records)]
    different += [name for name in TENSORS if len({getattr(one, name) is None for one in records}) > 1]
    if not different:
        held = _there(first, dict.fromkeys(shared, None))
        different += [
            name for name in held if any(not torch.equal(one.measured(name), first.measured(name)) for one in records)
        ]
    known = {label.name: label for record in records for label in record.labels}
    different += [f"arm {one.name!r}" for record in records for one in record.labels if known[one.name] != one]
    refuse_any([Problem(name, "not the same in all records", "records of the same items") for name in different])
    labels: dict[str, tuple[ArmLabel, int, int]] = {}
    for number, record in enumerate(records):
        for place, label in enumerate(record.labels):
            labels.setdefault(label.name, (label, number, place))
    chosen = list(labels.values())
    whole: dict[str, Any] = {
        name: torch.stack([records[number].measured(name)[:, place] for _, number, place in chosen], dim=1)
        for name in _there(first, TENSORS)
        if name not in shared
    }
    return replace(first, labels=tuple(label for label, _, _ in chosen), answers_checksum="", **whole)


def _there(effects: Effects, of: dict[str, Any]) -> dict[str, Any]:
    """Those of these tensors that a record has."""
    return {name: value for name, value in of.items() if getattr(effects, name) is not None}


def _known(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if name in TENSORS}


def _measured(effects: Effects) -> list[str]:
    """What the first arm has in each language, in words, of each group of tensors."""
    of, arm, lines = [item.language for item in effects.items], effects.arms[0], []
    asked = Counter(of)
    where = f"({arm}) in {len(asked)} languages"
    if effects.right is not None:
        right = Counter(language for language, hit in zip(of, effects.right[:, 0].tolist(), strict=True) if hit)
        counts = in_words([f"{language} {right[language]} of {number}" for language, number in asked.items()])
        lines.append(f"right {where}: {counts}")
    if effects.nats is not None and effects.counted is not None:
        nats, tokens = Counter[str](), Counter[str]()
        for language, one, count in zip(of, effects.nats[:, 0].tolist(), effects.counted.tolist(), strict=True):
            nats[language] += one
            tokens[language] += count
        means = in_words([f"{language} {nats[language] / max(tokens[language], 1):.3f}" for language in asked])
        lines.append(f"nats per token {where}: {means}")
    if effects.option_nats is not None:
        lines.append(f"up to {effects.option_nats.shape[2]} options")
    if effects.values is not None:
        lines.append(f"values: {in_words(effects.measures)}")
    return lines


def _problems(effects: Effects) -> list[Problem]:
    counts = len(effects.items), len(effects.labels)
    problems = [Problem(name, "none", "one or more") for name, count in zip(("items", "labels"), counts, strict=True)
                if not count]  # fmt: skip
    problems += [
        Problem(name, f"{_twice(getattr(effects, name))!r} twice", "unique names")
        for name in ("arms", "languages", "measures")
        if _twice(getattr(effects, name)) is not None
    ]
    keys = [(item.language, item.id) for item in effects.items]
    if (pair := _twice(keys)) is not None:
        problems.append(Problem("items", f"{pair[1]!r} twice in {pair[0]!r}", "an id once in each language"))
    problems += _incomplete(effects) or [
        *_misshapen(effects),
        *(_answer_problems(effects) if effects.tokens is not None else []),
        *(_likelihood_problems(effects) if effects.nats is not None else []),
    ]
    # What is of another shape cannot be looked into.
    if not problems and effects.option_nats is not None:
        problems = _option_problems(effects)
    return problems or (_object_problems(effects) if effects.option_alike is not None else [])


def _incomplete(effects: Effects) -> list[Problem]:
    """Groups of tensors of which a record has only some, or no group at all."""
    if effects.values is None and effects.measures:
        return [Problem("values", f"none for {len(effects.measures)} measures", "both, or neither")]
    if not _there(effects, TENSORS):
        return [Problem("effects", "nothing was measured", f"one or more of {', '.join(_GROUPS)}")]
    return [
        Problem(what, f"only {', '.join(_there(effects, group))}", f"{', '.join(group)}, or none of them")
        for what, group in _GROUPS.items()
        if _there(effects, group) and any(getattr(effects, one) is None and one not in _OPTIONAL for one in group)
    ]


def _misshapen(effects: Effects) -> list[Problem]:
    held: dict[str, tuple[torch.dtype, str]] = _there(effects, TENSORS)
    options = effects.option_nats.shape[-1] if effects.option_nats is not None and effects.option_nats.ndim else 0
    sizes = {"I": len(effects.items), "A": len(effects.labels), "O": options, "M": len(effects.measures)}
    words = {"I": "items", "A": "arms", "O": "options", "M": "measures"}
    problems = []
    for name, (dtype, axes) in held.items():
        tensor, shape = effects.measured(name), tuple(sizes[axis] for axis in axes)
        if tuple(tensor.shape) != shape:
            axis_names = " and ".join(words[axis] for axis in axes)
            problems.append(Problem(name, f"the shape {tuple(tensor.shape)}", f"{shape}, {axis_names}"))
        # Whole numbers may come in any type: they are checked by their values, and stored in theirs.
        if dtype in (torch.bool, torch.float64) and tensor.dtype != dtype:
            problems.append(Problem(name, f"{tensor.dtype}", f"{dtype}"))
    return problems


def _answer_problems(effects: Effects) -> list[Problem]:
    problems = []
    if unknown := [name for name in effects.item_languages if name not in effects.languages]:
        problems.append(Problem("items", f"in {' '.join(unknown)}", f"some of {' '.join(effects.languages)}"))
    found = effects.measured("output_language")
    if found.numel() and not (int(found.min()) >= ABSTAINED and int(found.max()) < len(effects.languages)):
        expected = f"{ABSTAINED} (none told) to {len(effects.languages) - 1}, places in the languages"
        problems.append(Problem("output_language", f"{int(found.min())} to {int(found.max())}", expected))
    return problems + _negative("tokens", effects.measured("tokens"))


def _likelihood_problems(effects: Effects) -> list[Problem]:
    return _negative("nats", effects.measured("nats")) + _negative("counted", effects.measured("counted"))


def _option_problems(effects: Effects) -> list[Problem]:
    nats, tokens = effects.measured("option_nats"), effects.measured("option_tokens")
    characters, there = effects.measured("option_characters"), tokens > 0
    problems = _negative("option_nats", nats) + _negative("option_tokens", tokens)
    problems += _negative("option_characters", characters)
    options = there.sum(1)
    if not torch.equal(there, torch.arange(nats.shape[2]) < options.unsqueeze(1)) or not options.all():
        problems.append(Problem("option_tokens", "an item with gaps or without options", "options first, then zeros"))
    if not nats.isnan().all(1)[~there].all() or characters[~there].any():
        problems.append(Problem("option_nats", "numbers where an item has no option", "NaN there, and 0 characters"))
    if effects.right is None:
        wrong = [
            item.expected
            for item, count in zip(effects.items, options.tolist(), strict=True)
            if item.expected not in ("", *map(str, range(count)))
        ]
        problems += [Problem("items", f"expected {wrong[0]!r}", "the place of an option, from 0")] if wrong else []
    return problems


def _object_problems(effects: Effects) -> list[Problem]:
    alike, languages = effects.measured("option_alike"), effects.languages
    if effects.option_nats is None or alike.shape[1] != len(languages):
        found = f"{alike.shape[1]} options in {len(languages)} languages"
        return [Problem("option_alike", found, "likelihoods of an option in each language")]
    own = [str(languages.index(item.language)) if item.language in languages else None for item in effects.items]
    if [item.expected for item in effects.items] != own:
        return [Problem("items", "another place of the option in the item's language", "its place in `languages`")]
    known = torch.arange(len(own)), torch.tensor([int(item.expected) for item in effects.items])
    return [] if alike[known].all() else [Problem("option_alike", "an option that is unlike itself", "true there")]


def _negative(name: str, tensor: Tensor) -> list[Problem]:
    low = tensor.nan_to_num().min() if tensor.numel() else torch.zeros(())
    return [Problem(name, f"{low.item()}", "0 or more")] if low < 0 else []


def _twice(values: Sequence[Any]) -> Any:
    """The first value that is there twice; None where all are unique."""
    return next((value for value, count in Counter(values).items() if count > 1), None)
