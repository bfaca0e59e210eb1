"""What will be done to which neurons of which models and measured on which text, known before any weight is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import compress
from operator import or_
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from alignlab.config import to_yaml
from alignlab.data.encoding import Document, check_vocabulary
from alignlab.environment import environment
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluation.answering import check_can_answer
from alignlab.evaluation.options import TaskOptions
from alignlab.evaluation.tasks import Task, TaskConfig
from alignlab.intervening.chosen import Chosen, expressions_of, languages_of, neurons_of
from alignlab.intervening.documents import Division, divide, elsewhere, some_languages
from alignlab.intervening.folder import GridFolder
from alignlab.intervening.grid import labels_of
from alignlab.intervening.options import WITH_MEANS, WITH_STRENGTH, InterveneOptions
from alignlab.intervening.subjects import Subject, subjects_of_run
from alignlab.interventions.layers import layer_mask
from alignlab.models.adapters import ModelLoader
from alignlab.models.distributed import local_rank
from alignlab.models.load import ModelConfig, embedding_rows
from alignlab.models.options import PrecisionName, SiteName
from alignlab.models.precision import precision_name
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import identifier_of
from alignlab.neurons.sets import NeuronSets
from alignlab.neurons.subset import subset
from alignlab.recording.effects import ArmLabel
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.recording.responses import recall
from alignlab.recording.scoring import items_fingerprint
from alignlab.redaction import hide, hide_all
from alignlab.run_models import check_run
from alignlab.runs import RunFolder


@dataclass
class GridPlan:
    """Models, text and outline, each made once, when it is first asked for."""

    options: InterveneOptions

    @cached_property
    def run(self) -> RunFolder | None:
        return None if self.options.run is None else RunFolder(Path(self.options.run).expanduser())

    @cached_property
    def subjects(self) -> list[Subject]:
        """The models whose neurons are changed. Raises InputError for a run or a step that is not there."""
        if self.run is not None:
            check_run(self.run.path)
        assert self.options.model is not None
        if self.run is None:
            return [Subject(hide(Path(self.options.model.source).name), self.options.model.source)]
        step = self.options.step
        steps = [step] if isinstance(step, int) else step
        return subjects_of_run(self.run.path, self.options.model.source, steps)

    @cached_property
    def folder(self) -> GridFolder:
        options = self.options
        above = Path("runs") if self.run is None else self.run.path
        path = above / "interventions" / options.name if options.folder is None else Path(options.folder).expanduser()
        return GridFolder(path, self.subjects, options.measures)

    @property
    def document(self) -> str:
        """The config as YAML, without secrets: which steps are meant is in it, however they were asked for."""
        changed: dict[str, Any] = {"dry_run": False}
        if self.run is not None:
            changed["step"] = [subject.step for subject in self.subjects]
        return to_yaml(self.options.model_copy(update=changed), hide_all)

    @cached_property
    def loader(self) -> ModelLoader:
        device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        assert self.options.model is not None
        return ModelLoader(ModelConfig.of(self.options.model), self.run is not None, self._precision(), device)

    @cached_property
    def base(self) -> ModelConfig:
        """The model without its adapter."""
        return self.loader.below(self.subjects[0].source)

    @cached_property
    def tokenizer(self) -> Any:
        return self.base.build_tokenizer()

    @cached_property
    def outline(self) -> nn.Module:
        """The model on the meta device: all its shapes, no weights."""
        return self.base.build_meta()

    @cached_property
    def sites(self) -> list[Site]:
        """The neurons' sites, found in the outline."""
        with torch.device("meta"):
            return find_sites(self.outline, self.grids[0].site)

    @cached_property
    def probe(self) -> Probe | PromptProbe:
        """The text on which the run has counted."""
        return ProbeConfig.of(self.options.probe).build(self.tokenizer)

    @cached_property
    def text(self) -> Probe | None:
        """Other text to measure on. Raises InputError for prompts without answers."""
        if self.options.text is None:
            return None
        text = ProbeConfig.of(self.options.text).build(self.tokenizer)
        if isinstance(text, PromptProbe):
            expected = "reference: documents as they are"
            raise InputError.of("text.responses", text.responses, expected, "Set text.responses=reference.")
        return text

    @cached_property
    def task(self) -> Task:
        """The problems: those that are set, else those of the run. Raises InputError where there are none."""
        options = self.options.evaluation
        if options is None and self.run is not None and isinstance(self.run.stored_config().get("evaluation"), dict):
            stored = self.run.stored_config()["evaluation"]
            options = TaskOptions.model_validate(
                {name: stored[name] for name in TaskOptions.model_fields if name in stored}
            )
        if options is None:
            fix = "Set evaluation.source, or measures=[perplexity]."
            raise InputError.of("measures", "accuracy, and there are no problems", "a run with problems", fix)
        return TaskConfig.of(options).build(self.tokenizer)

    @cached_property
    def grids(self) -> list[Grid]:
        """Of every model its grid."""
        return [Grid(self, subject) for subject in self.subjects]

    def check_options(self) -> None:
        """Refuse options that do not go together, before anything is read. Raises `InputError`."""
        options = self.options
        problems = []
        if options.run is None and options.model is None:
            fix = "Write run=runs/demo, or model.source=FOLDER neurons=SETS text.source.path=..."
            problems.append(Problem("command line", "neither a run nor a model is set", "one of them", fix))
        if options.run is None:
            needed = {"neurons": options.neurons, "text": options.text}
            problems += [
                Problem(name, "not set, and there is no run", "set for a model without a run")
                for name, value in needed.items()
                if value is None
            ]
            if options.step is not None:
                problems.append(Problem("step", "set, but there is no run", "null", "Set run=FOLDER."))
        with_strength = [name for name in options.operations if name in WITH_STRENGTH]
        if options.strengths != [1.0] and not with_strength:
            found = f"{options.strengths}, but {' and '.join(options.operations)} has none"
            problems.append(Problem("strengths", found, f"an operation with one: {', '.join(WITH_STRENGTH)}"))
        if options.neurons is not None and options.run is None and "matched" in options.controls:
            fix = "Set controls=[random], or also run=FOLDER."
            problems.append(Problem("controls", "matched, but no run has counted the neurons", "random", fix))
        if options.text is not None and options.same_documents and options.identify_shards is not None:
            problems.append(Problem("identify_shards", "set beside same_documents=true", "one of them"))
        refuse_any(problems)

    def check(self) -> None:
        """Refuse what cannot be done, before any weight is loaded. Raises `InputError`."""
        for grid in self.grids:
            grid.check()

    def made_from(self) -> dict[str, Any]:
        """Fingerprints of text, weights, neurons and batches, beside versions and the machine."""
        of_grids = [grid.fingerprints() for grid in self.grids]
        joined = {name: [one[name] for one in of_grids] for name in of_grids[0]}
        hidden: dict[str, Any] = hide_all({**environment(), **joined})
        return hidden

    def _precision(self) -> PrecisionName:
        if self.options.precision is not None or self.run is None:
            return self.options.precision or "32-true"
        trainer = self.run.stored_config().get("trainer")
        trained_in = trainer.get("precision") if isinstance(trainer, dict) else None
        name = precision_name(trained_in)
        if name is None:
            found, fix = f"the run's is {trained_in!r}", "Set precision=bf16-mixed."
            raise InputError.of("precision", found, "one that intervene knows", fix)
        return name


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
        chosen = some_languages(documents, options.languages, options.max_documents, options.probe.seed)
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
        """The neurons as the identifier finds them, at the thresholds of the run's first snapshot."""
        if self.found_by is None:
            return None
        identifier = identifier_of(self.plan.options.identifier)
        assert self.plan.run is not None
        first = self.plan.run.snapshots()[0]
        if first == self.subject.snapshot:
            return identifier.identify(self.found_by)
        return identifier.identify(self.found_by, identifier.identify(self._part(ActivationCounts.load(first))))

    @cached_property
    def source(self) -> NeuronSets | Classification:
        """What the names of sets mean: those of a file, or what the identifier finds."""
        if self.plan.options.neurons is not None:
            return NeuronSets.load(Path(self.plan.options.neurons).expanduser(), format="alignlab")
        assert self.classification is not None
        return self.classification

    @cached_property
    def expressions(self) -> dict[str, str]:
        """What each set is made of."""
        options = self.plan.options
        return expressions_of(self.each, options.sets, self._with_sets)

    @cached_property
    def chosen(self) -> Chosen:
        """The sets, and what their controls are drawn from."""
        options, source = self.plan.options, self.source
        whole = neurons_of(self.expressions, source, options.kinds, self._with_sets if self.each else ())
        found = source if isinstance(source, NeuronSets) else NeuronSets.of(source, counts=self.found_by)
        # Before layers are taken: a control may hold no neuron of any language, wherever that is.
        taken = reduce(or_, whole.values()) | found.union()
        masks = {}
        for name, of in self.parts.items():
            inside = layer_mask(options.layers, found.shape[0])
            if of.band:
                inside = inside & layer_mask(of.band, found.shape[0])
            masks[name] = whole[of.whole] & inside.unsqueeze(1)
        counted = () if self.found_by is None else self.found_by.languages
        p = {} if self.found_by is None else _probabilities(self.expressions, self.found_by)
        return Chosen(
            replace(found, sets=masks),
            taken,
            {name: of.whole for name, of in self.parts.items() if of.whole in counted},
            {name: p[of.whole] for name, of in self.parts.items() if of.whole in p},
            options.among,
        )

    @cached_property
    def parts(self) -> dict[str, PartOf]:
        """Of every set that is changed, which it is, or is a part of."""
        options = self.plan.options
        words = f"layers {options.layers}" if options.layers else ""
        found = {name: PartOf(name, words) for name in self.expressions}
        for name in self.expressions:
            found |= {f"{name}, layers {band}": PartOf(name, f"layers {band}", band) for band in options.bands}
        return found

    @cached_property
    def task(self) -> Task | None:
        """The problems whose answers are measured; None where accuracy is not.

        Left out are those that share an id or a cluster with what neurons were found on, unless the documents are
        deliberately the same. Raises InputError where there are no problems, or none is left in a language.
        """
        if "accuracy" not in self.plan.options.measures:
            return None
        task, options = self.plan.task, self.plan.options
        kept = [options.languages is None or prompt.language in options.languages for prompt in task.prompts]
        if self.division is not None and not options.same_documents:
            used = [one for texts in self.division.found_on.values() for one in texts]
            ids, clusters = {one.id for one in used}, {one.cluster for one in used}
            apart = [prompt.id not in ids and prompt.cluster not in clusters for prompt in task.prompts]
            kept = [a and b for a, b in zip(kept, apart, strict=True)]
        columns: dict[str, Any] = {
            name: list(compress(getattr(task, name), kept)) for name in ("prompts", "expected", "seen")
        }
        part = replace(task, **columns)
        asked = [code for code in task.languages if options.languages is None or code in options.languages]
        if missing := [code for code in asked if code not in part.languages]:
            found = f"no problem in {' '.join(missing)} is left that shares no id and no cluster with the documents on "
            fix = "Take other problems, or other identify_shards."
            raise InputError.of("evaluation", f"{found}which neurons were found", "one or more in each language", fix)
        return part

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
            "task_fingerprint": "" if self.task is None else self.task.fingerprint,
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
        self.chosen.check(options.controls)
        missing = [code for code in options.show_languages or () if code not in self.measured.languages]
        have = ", ".join(self.measured.languages)
        refuse_any([Problem("show_languages", f"{code} is not measured", f"some of: {have}") for code in missing])
        means = [name for name in options.operations if name in WITH_MEANS]
        of_none = [name for name in self.chosen.named if name not in self.chosen.languages]
        if means and of_none and self.division is not None:
            found = f"{' and '.join(means)} takes means of a language, and {', '.join(of_none)} is of none"
            raise InputError.of(
                "operations", found, "sets that are named as a language", "Use zero, constant or scale."
            )
        if means and self.division is None:
            found = f"{' and '.join(means)} takes means of documents on which neurons were found, and there is no run"
            raise InputError.of("operations", found, "zero, constant or scale", "Set run=FOLDER.")
        shape = (len(self.plan.sites), self.plan.sites[0].width)
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
