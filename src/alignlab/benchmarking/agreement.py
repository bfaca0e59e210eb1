"""Several identifiers on the same models and texts: what each finds, and how far they agree.

Every identifier is asked as `analyze` asks it, so that counts and other records of a model are made once, for all of
them, and kept where `analyze` keeps them. Of one model and text the sets of all identifiers are held, in bits of bool:
for 10 languages and 32 x 14,336 neurons 4.6 MB each; and as many again of those that they are compared with.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any, cast

from alignlab import console
from alignlab.analysis.records import StoredCounts
from alignlab.analysis.recount import Recount
from alignlab.benchmarking.agreement_options import AgreementOptions
from alignlab.benchmarking.halves import part_of
from alignlab.config import Options, to_plain, to_yaml
from alignlab.data.fertility import Fertility, fertility
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.neurons.agreement import Agreement, Sets, agreement, halves, layer_shares, shared_share
from alignlab.neurons.identifiers import Identifier, SizedIdentifier, identifier_of
from alignlab.neurons.options import IdentifierOptions
from alignlab.neurons.selection import number_problems
from alignlab.neurons.table import Row
from alignlab.options import AnalyzeOptions
from alignlab.question import AnalyzeConfig
from alignlab.recording.probes import PromptProbe
from alignlab.redaction import hide, hide_all
from alignlab.reporting.wording import settings_in_words
from alignlab.runs import RunFolder

ANALYSIS = "agreement"
KIND = "agreement of identifiers"
_LONGEST = 40  # characters of a name, which stands in columns
_SHARED = ("run", "labels", "model", "probe", "against", "precision", "reference")


class AgreementConfig(AgreementOptions):
    """What is compared, on which models and texts."""

    @cached_property
    def chosen(self) -> dict[str, IdentifierOptions]:
        """The identifiers, by name. Raises InputError for names that are not there."""
        found = {**self.identifiers, self.identifier.name: self.identifier}
        names = list(found) if self.only is None else self.only
        refuse_any(
            [
                Problem("only", f"there is no identifier {name!r}", f"some of: {', '.join(found)}",
                        did_you_mean(name, found))
                for name in names
                if name not in found
            ]
        )  # fmt: skip
        return {name: found[name] for name in names}

    @cached_property
    def asked(self) -> dict[str, IdentifierOptions]:
        """Those chosen, and the one whose sets say how many neurons others take, where it is not among them."""
        takes = [one for one in self.chosen.values() if isinstance(identifier_of(one), SizedIdentifier)]
        sizing = self.size is None and any(one is not self.identifier for one in takes)
        return {**self.chosen, **({self.identifier.name: self.identifier} if sizing else {})}

    def questions(self) -> dict[str, tuple[AnalyzeConfig, Recount]]:
        """Each identifier that is asked, as `analyze` asks it, and what has to be recorded for it.

        Raises InputError for all that does not fit, before any model is loaded.
        """
        self._check()
        found, problems = {}, []
        _, first = self._asked(self.identifier)
        neurons = math.prod(first.shape()[2:])
        if self.size is not None:
            refuse_any(number_problems("size", self.size, neurons))
        for name, identifier in self.asked.items():
            # Where the size comes from what is found, one neuron stands for it: what cannot be taken at all is told.
            sized = identifier if identifier is self.identifier else _sized(identifier, self.size or 1, neurons)
            try:
                found[name] = self._asked(sized, first)
            except InputError as error:
                problems += [_at(problem, f"identifiers.{name}") for problem in error.problems]
        refuse_any(list(dict.fromkeys(problems)))
        _check_languages(next(iter(found.values()))[1])
        return found

    def _asked(self, identifier: IdentifierOptions, beside: Recount | None = None) -> tuple[AnalyzeConfig, Recount]:
        given = {key: getattr(self, key) for key in _SHARED}
        options = AnalyzeOptions(**given, models=self._models, recount=self.run is not None, identifier=identifier)
        question = AnalyzeConfig.of(options)
        recount = question.recounting(beside)
        assert recount is not None  # models are named
        return question, recount

    @property
    def _models(self) -> list[str]:
        """Those that are named; of a run its base and last checkpoint."""
        if self.models or self.run is None:
            return self.models
        steps = RunFolder(Path(self.run).expanduser()).checkpoint_steps()
        return ["0", *(str(step) for step in steps[-1:])]

    def _check(self) -> None:
        refuse_any(
            [
                Problem("identifiers", f"{hide(name)}: it holds a secret", "a name, which is written and shown")
                for name in self.chosen
                if hide(name) != name
            ]
            + [
                Problem("identifiers", f"the name {name!r}", f"1 to {_LONGEST} characters, none of control, which are "
                        "written and shown")
                for name in self.identifiers
                if not name.strip() or len(name) > _LONGEST or console.has_controls(name)
            ]
        )  # fmt: skip
        refuse_any(self._overruled())
        if self.run is None and not self.models:
            fix = "Write run=runs/demo, or models=[FOLDER,FOLDER] probe.source.path=..."
            raise InputError(Problem("command line", "nothing is set to compare on", "a run or models", fix))
        if self.run is not None and not RunFolder(Path(self.run).expanduser()).config.is_file():
            found = "there is no config.yaml in it, which says the model and the probe"
            raise InputError(Problem(f"run ({self.run})", found, "the folder of a run of alignlab.train"))
        if len(self.chosen) < 2 and self.against is None and len(self._models) < 2:
            found = f"one identifier ({next(iter(self.chosen))}), one model and one text"
            raise InputError(Problem("command line", found, "two of any of them, to compare"))

    def _overruled(self) -> list[Problem]:
        """Options that would not be used, since `identifier` stands in their place."""
        name = self.identifier.name
        given = self.identifiers.get(name)
        if given is None or given in (self.identifier, type(self.identifier)()):
            return []
        found = f"other options than those of `identifier`, which stand in {name}'s place"
        fix = "Set those of `identifier`, or call the other one by a name of its own."
        return [Problem(f"identifiers.{name}", found, "the same, or none", fix)]

    @property
    def results(self) -> Path:
        """The folder of the results: the same question has the same folder."""
        if self.folder is not None:
            return Path(self.folder).expanduser()
        kept = (Path("runs") if self.run is None else Path(self.run).expanduser()) / "analysis"
        return kept / f"agreement-{hashlib.sha256(self.document.encode()).hexdigest()[:8]}"

    @property
    def document(self) -> str:
        """The question as YAML, without secrets."""
        return to_yaml(self.model_copy(update={"dry_run": False, "folder": None}), hide_all)


@dataclass(frozen=True)
class Found:
    """What an identifier finds in a record.

    record: its label.  halves: of the even and the odd shards; None where there is one shard.
    seconds: that the identifier took, records at hand.
    """

    identifier: str
    record: str
    sets: Sets
    halves: tuple[Sets, Sets] | None
    seconds: float
    reason: str


@dataclass(frozen=True)
class Compared:
    """All that was found.

    found: by record and identifier.  reads: by identifier, which record it reads.  options: and with what.
    fertility: by record, of every language.
    note: what stands in the place of languages, in a sentence; empty where languages do.
    """

    languages: tuple[str, ...]
    shape: tuple[int, int]
    site: str
    scope: str
    found: Mapping[str, Mapping[str, Found]]
    reads: Mapping[str, str]
    options: Mapping[str, str]
    fertility: Mapping[str, Mapping[str, Fertility]]
    reference: str
    note: str = ""

    @property
    def records(self) -> list[str]:
        return [*self.found]

    def between(self, record: str) -> Iterator[tuple[str, str, Agreement]]:
        """Of a record every pair of identifiers."""
        names = [*self.found[record]]
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                yield first, second, agreement(self.found[record][first].sets, self.found[record][second].sets)

    def of_halves(self, record: str, name: str) -> Agreement | None:
        """An identifier on one half of the documents and on the other."""
        both = self.found[record][name].halves
        return None if both is None else agreement(*both)

    def of_records(self, first: str, second: str, name: str) -> Agreement:
        """An identifier on two models or texts."""
        return agreement(self.found[first][name].sets, self.found[second][name].sets)


def compare(config: AgreementConfig, questions: Mapping[str, tuple[AnalyzeConfig, Recount]]) -> Compared:
    """Ask every identifier of every record; these are there."""
    records = {name: question.records(recount) for name, (question, recount) in questions.items()}
    labels = [record.label for record in next(iter(records.values()))]
    size = config.size
    if size is None and config.identifier.name in records:
        size = _size_of(config.identifier, records[config.identifier.name][0])
    found: dict[str, dict[str, Found]] = {label: {} for label in labels}
    options: dict[str, str] = {}
    counts = None
    neurons = math.prod(next(iter(questions.values()))[1].shape()[2:])
    with console.progress("Identifying", len(config.chosen) * len(labels)) as advance:
        for name, chosen in config.chosen.items():
            own = chosen is config.identifier and config.size is None
            identifier = identifier_of(chosen if own or size is None else _sized(chosen, size, neurons))
            options[name] = _in_words(identifier)
            for place, label in enumerate(labels):
                one, counts = _find(name, identifier, records[name][place])
                found[label][name] = one
                advance(note=f"{name}, {label}")
    assert counts is not None
    reads = {name: identifier_of(chosen).reads for name, chosen in config.chosen.items()}
    _, recount = next(iter(questions.values()))
    reference = config.reference or counts.reference
    of_texts = _fertilities(recount, labels, reference)
    shape = (counts.shape[2], counts.shape[3])
    return Compared(
        counts.languages, shape, counts.site, counts.scope, found, reads, options, of_texts, reference,
        config.labels.note,
    )  # fmt: skip


def _size_of(options: IdentifierOptions, first: StoredCounts) -> int:
    """The neurons of a language that an identifier finds in the first record, on average."""
    identifier = identifier_of(options)
    sets = identifier.identify(first.read_by(identifier, first.load())).sets
    return max(1, round(mean(int(mask.sum()) for mask in sets.values())))


def _find(name: str, identifier: Identifier, stored: StoredCounts) -> tuple[Found, Any]:
    counts = stored.load()
    record = stored.read_by(identifier, counts)
    began = time.perf_counter()
    result = identifier.identify(record)
    seconds = time.perf_counter() - began
    shards = counts.shape[1]
    both = None
    if shards > 1:
        first, second = (identifier.identify(part_of(record, shards, taken)).sets for taken in halves(shards))
        both = first, second
    return Found(name, stored.label, result.sets, both, seconds, result.reason), counts


def _fertilities(recount: Recount, labels: list[str], reference: str) -> dict[str, dict[str, Fertility]]:
    """By record what its tokenizer makes of its text; left out where a model answers, as its text is its own."""
    found = {}
    pairs = [(model, name) for model in recount.models for name in recount.probes]
    for label, (model, name) in zip(labels, pairs, strict=True):
        probe = recount.probe(model, name)
        if isinstance(probe, PromptProbe):
            continue
        counted = {
            language: [(document, probe.counted(document)) for document in documents]
            for language, documents in probe.documents.items()
        }
        found[label] = fertility(counted, recount.loader.below(model.source).build_tokenizer(), reference)
    return found


def rows_of(compared: Compared) -> list[Row]:
    """Every number of the comparison."""
    return [row for record in compared.records for row in [*_rows_of_record(compared, record)]] + [
        *_rows_of_pairs(compared)
    ]


def _rows_of_record(compared: Compared, record: str) -> Iterator[Row]:
    layers, width = compared.shape
    for name, one in compared.found[record].items():
        at: dict[str, Any] = {"analysis": ANALYSIS, "record": record, "set": name, "site": compared.site,
                              "scope": compared.scope}  # fmt: skip
        for language, mask in one.sets.items():
            yield Row(**at, group="language", language=language, measure="size", value=float(mask.sum()),
                      denominator=layers * width)  # fmt: skip
        for language, shares in zip(one.sets, layer_shares(one.sets).tolist(), strict=True):
            for layer, value in enumerate(shares):
                yield Row(**at, group="language", language=language, layer=layer, measure="share of the set",
                          value=value, unit="share", denominator=int(one.sets[language].sum()))  # fmt: skip
        yield Row(**at, measure="in several sets", value=shared_share(one.sets), unit="share")
        yield Row(**at, measure="time", value=one.seconds, unit="seconds")
        if (of_halves := compared.of_halves(record, name)) is not None:
            yield from _rows_of_agreement(of_halves, at | {"label": "halves", "compared": name})
    for first, second, found in compared.between(record):
        at = {"analysis": ANALYSIS, "record": record, "set": first, "compared": second,
              "label": "identifiers", "site": compared.site, "scope": compared.scope}  # fmt: skip
        yield from _rows_of_agreement(found, at)
    for language, of in compared.fertility.get(record, {}).items():
        at = {"analysis": ANALYSIS, "record": record, "group": "language", "language": language, "unit": "ratio"}
        yield Row(**at, measure="tokens a character", value=of.per_character, denominator=of.tokens)
        yield Row(**at, measure=f"tokens beside {compared.reference}", value=of.premium, denominator=of.shared)


def _rows_of_pairs(compared: Compared) -> Iterator[Row]:
    for place, first in enumerate(compared.records):
        for second in compared.records[place + 1 :]:
            for name in compared.found[first]:
                at = {"analysis": ANALYSIS, "record": first, "set": name, "compared": second,
                      "label": "records", "site": compared.site, "scope": compared.scope}  # fmt: skip
                yield from _rows_of_agreement(compared.of_records(first, second, name), at)


def _rows_of_agreement(found: Agreement, at: Mapping[str, Any]) -> Iterator[Row]:
    of_all: dict[str, Any] = {"measure": "jaccard", "unit": "share"}
    yield Row(**at, **of_all, group="all languages", value=found.jaccard, reference=found.chance,
              denominator=found.languages)  # fmt: skip
    for language, one in found.by_language.items():
        yield Row(**at, **of_all, group="language", language=language, value=one.jaccard, reference=one.chance,
                  denominator=one.size_a + one.size_b - one.common)  # fmt: skip


def _sized(options: IdentifierOptions, size: int, neurons: int) -> IdentifierOptions:
    """The options with sets of that size, of so many neurons; as they are of an identifier that takes none."""
    identifier = identifier_of(options)
    if not isinstance(identifier, SizedIdentifier):
        return options
    sized = cast("Options", identifier.of_size(size, neurons))
    return type(options).model_validate(to_plain(sized))


def _in_words(identifier: Any) -> str:
    settings = to_plain(identifier)
    settings.pop("name")
    return settings_in_words(settings)


def _check_languages(recount: Recount) -> None:
    """Refuse texts in other languages than those that they are compared with, before a model is loaded."""
    first, *others = ({name: recount.probe(recount.models[0], name).languages for name in recount.probes}).items()
    refuse_any(
        [
            Problem(name, f"its languages are {' '.join(found)}", f"those of {first[0]}: {' '.join(first[1])}",
                    f"Set {name}.source.languages, or those of {first[0]}.")
            for name, found in others
            if set(found) != set(first[1])
        ]
    )  # fmt: skip


def _at(problem: Problem, key: str) -> Problem:
    """A problem of an identifier's, at the key where what is wrong was set here."""
    if not problem.where.startswith("identifier."):
        return problem
    return replace(
        problem,
        where=f"{key}.{problem.where.removeprefix('identifier.')}",
        fix=problem.fix.replace("Set identifier.", f"Set {key}."),
    )
