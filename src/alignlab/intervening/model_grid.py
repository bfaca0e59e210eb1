"""The grid of one model: which documents, which neurons, which arms."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import compress
from operator import or_
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor

from alignlab.data.encoding import Document, check_vocabulary
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluation.answering import check_can_answer
from alignlab.evaluation.tasks import Task
from alignlab.intervening import falling
from alignlab.intervening.chosen import Chosen, expressions_of, languages_of, neurons_of
from alignlab.intervening.documents import Division, divide, elsewhere, first_ids, some_languages
from alignlab.intervening.grid import labels_of
from alignlab.intervening.objects import Objects, longest
from alignlab.intervening.options import WITH_MEANS, WITH_TEXTS, WITHOUT_MEANS
from alignlab.intervening.subjects import Subject
from alignlab.interventions.layers import layer_mask
from alignlab.languages import Language, find
from alignlab.models.load import embedding_rows
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import identifier_of
from alignlab.neurons.kinds import Kind
from alignlab.neurons.sets import NeuronSets
from alignlab.neurons.subset import subset
from alignlab.recording.effects import ArmLabel
from alignlab.recording.generation import check_positions
from alignlab.recording.probes import Probe
from alignlab.recording.responses import recall
from alignlab.recording.scoring import items_fingerprint
from alignlab.sharing.hub_folder import load_sets

if TYPE_CHECKING:
    from alignlab.intervening.plan import GridPlan


@dataclass(frozen=True)
class PartOf:
    """whole: the set that it is a part of, or is.  words: which layers these are, empty for all.  band: the layers."""

    whole: str
    words: str = ""
    band: str | None = None


@dataclass
class Grid:
    """The arms of one model, and the documents on which they are measured."""

    plan: GridPlan
    subject: Subject

    @cached_property
    def counts(self) -> ActivationCounts | None:
        """What the run has counted of it, on all documents."""
        return self.subject.counts()

    @cached_property
    def probe(self) -> Probe | None:
        """The text of these counts. Raises InputError where it is another now."""
        if self.counts is None:
            return None
        assert self.plan.run is not None
        assert self.subject.step is not None
        probe = recall(self.plan.probe, self.plan.run.neurons, self.subject.step)
        if probe.fingerprint != self.counts.data_fingerprint:
            found = f"it is not the text on which the run counted {self.subject.label} "
            found += f"({probe.fingerprint} now, {self.counts.data_fingerprint} then)"
            fix = "Leave out what is set of probe, restore its files, or measure other text with text.source."
            raise InputError.of("probe", found, "the same text, by which documents are kept apart", fix)
        if probe.site != self.counts.site and not self.subject.site:
            found = f"{probe.site}, and the run has counted {self.counts.site}"
            fix = f"Leave it out, and set sites=[{probe.site}]."
            raise InputError.of("probe.site", found, self.counts.site, fix)
        return probe

    @cached_property
    def division(self) -> Division | None:
        """Which documents neurons are found on and which are measured; None where nobody knows the former."""
        options, text, probe = self.plan.options, self.plan.text, self.probe
        if probe is None:
            return None
        if text is None:
            return divide(probe, options.identify_shards, same=options.same_documents)
        shards = options.identify_shards
        inside = probe.documents if shards is None else divide(probe, shards).found_on
        return elsewhere(inside, shards, text.documents, same=options.same_documents)

    @cached_property
    def measured(self) -> Probe:
        """The documents that are measured, as a probe: it says which tokens count."""
        options = self.plan.options
        of = self.plan.text or self.probe
        assert of is not None
        documents = of.documents if self.division is None else self.division.measured
        chosen = some_languages(documents, self.plan.languages, options.max_documents, options.probe.seed)
        return replace(of, documents=chosen, max_tokens_per_batch=options.max_tokens_per_batch)

    @property
    def documents(self) -> list[Document]:
        """All of them, language after language."""
        return [one for documents in self.measured.documents.values() for one in documents]

    @cached_property
    def found_by(self) -> ActivationCounts | None:
        """The counts by which neurons are found."""
        return None if self.counts is None else self._part(self.counts)

    @cached_property
    def classification(self) -> Classification | None:
        """The neurons as the identifier finds them; `anchored` says at which thresholds."""
        if self.found_by is None:
            return None
        identifier = identifier_of(self.plan.options.identifier)
        first = self.subject.first
        assert first is not None
        if first == self.subject.snapshot or not self.plan.options.anchored:
            return identifier.identify(self.found_by)
        return identifier.identify(self.found_by, identifier.identify(self._part(ActivationCounts.load(first))))

    @cached_property
    def source(self) -> NeuronSets | Classification:
        """What the names of sets mean: those of a file, or what the identifier finds."""
        if self.plan.options.neurons is not None:
            return load_sets(self.plan.options.neurons)
        assert self.classification is not None
        return self.classification

    @cached_property
    def _spoken(self) -> dict[str, Tensor] | None:
        """By label the neurons of its language, (L, N) bool; None where no file has any."""
        if self.plan.options.beside is None:
            return None
        languages = load_sets(self.plan.options.beside)
        labels = self.source.sets
        found = self.source if isinstance(self.source, NeuronSets) else self.found_by
        assert found is not None
        if languages.site != (site := found.site):
            raise InputError.of("beside", f"neurons at {languages.site}", f"neurons at {site}, as those to be changed")
        names = {label: (find(label) or Language(label, label)).spoken or label for label in labels}
        return {label: languages[name] for label, name in names.items() if name in languages}

    @cached_property
    def expressions(self) -> dict[str, str]:
        """What each set is made of."""
        options = self.plan.options
        return expressions_of(self.each, options.sets, self._with_sets)

    @cached_property
    def chosen(self) -> Chosen:
        """The sets, and what their controls are drawn from."""
        options, source = self.plan.options, self.source
        each = self._with_sets if self.each else ()
        whole = neurons_of(self.expressions, source, options.kinds, each, self._spoken)
        found = source if isinstance(source, NeuronSets) else NeuronSets.of(source, counts=self.found_by)
        # Before layers are taken: a control may hold no neuron of any language, wherever that is.
        taken = reduce(or_, [*whole.values(), *(self._spoken or {}).values()]) | found.union()
        inside = self._layers_inside(found.shape[0])
        masks = {name: whole[of.whole] & inside[of.band].unsqueeze(1) for name, of in self.parts.items()}
        counted = () if self.found_by is None else self.found_by.languages
        p = {} if self.found_by is None else _probabilities(self.expressions, self.found_by)
        return Chosen(
            replace(found, sets=masks),
            taken,
            {name: of.whole for name, of in self.parts.items() if of.whole in counted},
            {name: p[of.whole] for name, of in self.parts.items() if of.whole in p},
            options.among,
            self._general,
        )

    def _layers_inside(self, layers: int) -> dict[str | None, Tensor]:
        """By band, and for none, which layers are meant, (L,) bool. Raises InputError for what there is not."""
        options = self.plan.options
        masks: dict[str | None, Tensor] = {}
        problems: list[Problem] = []
        for where, band in [("layers", None), *(("bands", band) for band in options.bands)]:
            try:
                masks[band] = layer_mask(options.layers if band is None else band, layers, where)
            except InputError as error:
                problems += error.problems
        bands = [band for band in options.bands if band in masks]
        problems += [
            Problem("bands", f"{one!r} and {other!r} are the same layers", "each once")
            for place, one in enumerate(bands)
            for other in bands[place + 1 :]
            if torch.equal(masks[one], masks[other])
        ]
        if options.layers is not None and None in masks:
            found, expected = "{!r} has all that layers has", "some of them: all together are a set already"
            whole = [band for band in bands if torch.equal(masks[band] & masks[None], masks[None])]
            problems += [Problem("bands", found.format(band), expected) for band in whole]
        refuse_any(problems)
        return {band: mask & masks[None] for band, mask in masks.items()}

    @property
    def _general(self) -> Tensor | None:
        """(L, N) bool, the neurons of every language; None where the identifier, or a file of sets, tells of none."""
        result = self.classification
        if result is None or not result.has_degree:
            return None
        return result.kinds(self.plan.options.kinds) == Kind.GENERAL

    @cached_property
    def parts(self) -> dict[str, PartOf]:
        """Of every set that is changed, which it is, or is a part of."""
        options = self.plan.options
        words = f"layers {options.layers}" if options.layers else ""
        found = {name: PartOf(name, words) for name in self.expressions}
        for name in self.expressions:
            of_bands = {f"{name}, layers {band}": PartOf(name, f"layers {band}", band) for band in options.bands}
            problems = [
                Problem(f"sets.{part}", f"the part of {name!r} in a band has this name", "another name")
                for part in of_bands
                if part in found
            ]
            refuse_any(problems)
            found |= of_bands
        return found

    @cached_property
    def task(self) -> Task | None:
        """The problems whose answers are measured; None where none are.

        Left out are those that share an id or a cluster with what neurons were found on, unless the documents are
        deliberately the same. Raises InputError where there are no problems, or none is left in a language.
        """
        if not set(WITH_TEXTS) & set(self.plan.options.measures):
            return None
        task, languages = self.plan.task, self.plan.languages
        kept = [languages is None or prompt.language in languages for prompt in task.prompts]
        ids, clusters = self._used
        apart = [prompt.id not in ids and prompt.cluster not in clusters for prompt in task.prompts]
        kept = [a and b for a, b in zip(kept, apart, strict=True)]
        kept = self._at_most(task, kept)
        columns: dict[str, Any] = {
            name: list(compress(getattr(task, name), kept)) for name in ("prompts", "expected", "seen")
        }
        part = replace(task, **columns)
        asked = [code for code in task.languages if languages is None or code in languages]
        if not asked:
            found = f"the problems are in {' '.join(task.languages)}, and {' '.join(languages or ())} is measured"
            raise InputError.of("evaluation", found, "problems in languages that are measured")
        if missing := [code for code in asked if code not in part.languages]:
            found = f"no problem in {' '.join(missing)} is left that shares no id and no cluster with the documents on "
            fix = "Take other problems, or other identify_shards."
            raise InputError.of("evaluation", f"{found}which neurons were found", "one or more in each language", fix)
        return part

    def _at_most(self, task: Task, kept: Sequence[bool]) -> list[bool]:
        """Of the problems that are kept, the first ones of each language, parallel ones together."""
        most, seed = self.plan.options.max_documents, self.plan.options.probe.seed
        left = list(compress(task.prompts, kept))
        chosen = {
            code: first_ids([one for one in left if one.language == code], most or len(left), seed)
            for code in task.languages
        }
        return [there and one.id in chosen[one.language] for one, there in zip(task.prompts, kept, strict=True)]

    @cached_property
    def path_task(self) -> Task | None:
        """The problems that are answered at every step of a fallback; None where it is not measured."""
        if "fallback" not in self.plan.options.measures:
            return None
        assert self.task is not None
        return falling.asked(self.task, self.plan.options)

    @cached_property
    def objects(self) -> Objects | None:
        """The items of LSS, none of which neurons were found on; None where it is not measured."""
        return self.plan.objects(self._used) if "lss" in self.plan.options.measures else None

    @cached_property
    def _used(self) -> tuple[set[str], set[str]]:
        """Ids and clusters of what neurons were found on, unless the documents are deliberately the same."""
        if self.division is None or self.plan.options.same_documents:
            return set(), set()
        used = [one for texts in self.division.found_on.values() for one in texts]
        return {one.id for one in used}, {one.cluster for one in used}

    @property
    def sets(self) -> NeuronSets:
        """The neurons that are changed, by name."""
        return self.chosen.sets

    @property
    def site(self) -> SiteName:
        """Where they are. Raises InputError for a file of sets of a site that there is not."""
        known: dict[str, SiteName] = {name: name for name in get_args(SiteName)}
        require_one_of("site of the sets", self.sets.site, known)
        return known[self.sets.site]

    @cached_property
    def found_sites(self) -> list[Site]:
        """The sites of the neurons, found in the outline."""
        with torch.device("meta"):
            return find_sites(self.plan.outline, self.site)

    @cached_property
    def each(self) -> str:
        """The expression of every language's set; empty for none."""
        if self.plan.options.each is not None:
            return self.plan.options.each
        kinds = isinstance(self.source, Classification) and self.source.has_degree
        return "specific(g) | related(g)" if kinds else "g"

    @cached_property
    def _with_sets(self) -> list[str]:
        """The measured languages for which `each` makes a set: those that something is known of."""
        names = self.source.names if isinstance(self.source, NeuronSets) else self.source.languages
        return [code for code in self.measured.languages if code in names]

    @cached_property
    def labels(self) -> list[ArmLabel]:
        """What the arms are; sets that are empty have none."""
        options = self.plan.options
        return labels_of(self.chosen.named, options.operations, options.strengths, options.controls, options.seeds)

    def neurons(self) -> list[Tensor]:
        """The neurons of each arm, (L, N) bool, in the order of the labels; arms of one set and draw share a mask."""
        drawn: dict[tuple[str, str, int | None], Tensor] = {
            ("", "", None): torch.zeros(self.sets.shape, dtype=torch.bool)
        }
        for label in self.labels:
            key = label.set, label.control, label.seed
            if key not in drawn:
                drawn[key] = self.chosen.neurons(label)
        return [drawn[label.set, label.control, label.seed] for label in self.labels]

    def fingerprints(self) -> dict[str, str]:
        """Of the text, the weights and the neurons."""
        masks = [self.measured.counted(document) for document in self.documents]
        chosen, digest = self.chosen, hashlib.sha256()
        for name, mask in chosen.sets.items():
            digest.update(f"{name}\0{chosen.languages.get(name)}".encode() + np.packbits(mask.numpy()).tobytes())
            if name in chosen.probabilities:  # by which controls are drawn
                digest.update(chosen.probabilities[name].numpy().tobytes())
        digest.update(np.packbits(chosen.taken.numpy()).tobytes())
        return {
            "text_fingerprint": items_fingerprint(self.documents, masks),
            "task_fingerprint": " ".join(one.fingerprint for one in (self.task, self.objects) if one is not None),
            "model_fingerprint": self.plan.loader.digest(self.subject.source),
            "neurons_fingerprint": digest.hexdigest()[:16],
        }

    def check(self) -> None:
        """Refuse what does not fit the model, the text or each other."""
        options = self.plan.options
        check_vocabulary(self.documents, embedding_rows(self.plan.outline))
        if self.task is not None:
            check_vocabulary(self.task.prompts, embedding_rows(self.plan.outline))
            check_can_answer(self.task, self.plan.outline)
        if self.objects is not None:
            check_vocabulary(self.objects.documents, embedding_rows(self.plan.outline))
            fix = "Take shorter items with objects.source."
            check_positions(self.plan.outline, longest(self.objects), 0, "objects.source", fix)
        self.chosen.check(options.controls)
        if self.path_task is not None:
            falling.check(self, options)
        missing = [code for code in options.show_languages or () if code not in self.measured.languages]
        have = ", ".join(self.measured.languages)
        refuse_any([Problem("show_languages", f"{code} is not measured", f"some of: {have}") for code in missing])
        means = [name for name in options.operations if name in WITH_MEANS]
        of_none = [name for name in self.chosen.named if name not in self.chosen.languages]
        if means and of_none and self.division is not None:
            found = f"{' and '.join(means)} takes means of a language, and {', '.join(of_none)} is of none"
            raise InputError.of(
                "operations", found, "sets that are named as a language", f"Use one of {', '.join(WITHOUT_MEANS)}."
            )
        if means and self.division is None:
            found = f"{' and '.join(means)} takes means of documents on which neurons were found, and there is no run"
            raise InputError.of("operations", found, f"one of {', '.join(WITHOUT_MEANS)}", "Set run=FOLDER.")
        shape = (len(self.found_sites), self.found_sites[0].width)
        if self.sets.shape != shape:
            found = f"they are of {self.sets.shape[0]} x {self.sets.shape[1]} neurons"
            raise InputError.of("neurons", found, f"{shape[0]} x {shape[1]} at {self.sets.site}, those of the model")

    def _part(self, counts: ActivationCounts) -> ActivationCounts:
        shards = None if self.division is None else self.division.shards
        return subset(counts, shards=shards)


def _probabilities(expressions: Mapping[str, str], counts: ActivationCounts) -> dict[str, Tensor]:
    """By set, how often each neuron is active, (L, N) float64: in its language, or on average in those that it names.

    A set that names no language is of all of them.
    """
    p = dict(zip(counts.languages, counts.probabilities(), strict=True))
    found = {}
    for name, expression in expressions.items():
        named = [name] if name in p else languages_of(expression, counts.languages) or list(counts.languages)
        found[name] = torch.stack([p[code] for code in named]).mean(dim=0)
    return found
