"""What can be asked of stored counts, and the plan of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from alignlab import console
from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.beside import beside_of, beside_of_control
from alignlab.analysis.driving import TextsAsked
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.interval_cost import seconds_of_intervals
from alignlab.analysis.noise import Resampling
from alignlab.analysis.options import USUAL
from alignlab.analysis.records import StoredCounts, parts, snapshots_of, stored_counts
from alignlab.analysis.recount import ModelToCount, Recount
from alignlab.config import to_plain, to_yaml
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.adapters import ModelLoader
from alignlab.models.distributed import local_rank
from alignlab.models.load import ModelConfig
from alignlab.models.training_languages import common_languages
from alignlab.neurons.counts_file import read_header
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.identifiers import (
    AtSiteOfProbe,
    AttributionConfig,
    ControlledIdentifier,
    Identifier,
    ImportanceIdentifier,
    has_tau,
    identifier_of,
    name_of,
    reading_problems,
)
from alignlab.neurons.reassigned import DRAWS
from alignlab.neurons.selection import small_selection
from alignlab.options import AnalyzeOptions
from alignlab.recording.driving_texts import neuron_problems
from alignlab.recording.probes import ProbeConfig
from alignlab.redaction import hide, hide_all
from alignlab.reporting.options import WandbOptions
from alignlab.reporting.wandb_config import WandbConfig
from alignlab.reporting.wandb_run import WandbRun
from alignlab.reporting.wording import settings_in_words
from alignlab.run_models import precision_of_run
from alignlab.runs import RunFolder
from alignlab.secret_settings import hidden_problems, secret_problems


class AnalyzeConfig(AnalyzeOptions):
    """An analysis: what is asked of which counts."""

    def recounting(self, beside: Recount | None = None) -> Recount | None:
        """What is to be counted; None where stored counts are read. Raises InputError for sources that do not fit.

        beside: what another question counts, of the same models and texts, which are then tokenised once for both.
        """
        self._check_sources()
        return self._recount(beside) if self._counts_again else None

    def texts_asked(self, records: Sequence[StoredCounts], recount: Recount | None) -> TextsAsked | None:
        """What is asked of the texts that drive neurons; None where it is nothing.

        Raises InputError where there are no such neurons, and for a last record whose model or texts are not at hand.
        """
        if self.texts is None:
            return None
        found = recount or self._recount()
        layers, width = found.shape()[2:]
        refuse_any(neuron_problems("neurons", self._pairs, (layers, width)) if self._pairs else [])
        models = found.models
        if recount is None:
            step = read_header(records[-1].path).step
            models = [one for one in found.models if one.step == step]
            if not models:
                there = ", ".join(str(one.step) for one in found.models)
                missing = f"the run has no checkpoint of step {step}, its last snapshot"
                expected = f"its checkpoint, to read the text; there are those of {there}"
                raise InputError.of("texts", missing, expected, "Name the models to be read: models=[STEP,...].")
        name = list(found.probes)[-1]
        asked = TextsAsked(found, models[-1], name, self.texts, self._kept / "texts", len(self._pairs))
        if recount is None:
            asked.check(records[-1])
        return asked

    def _recount(self, beside: Recount | None = None) -> Recount:
        """The models of this question with their probes. Raises InputError for what does not fit."""
        probes = {"": ProbeConfig.of(self.probe)}
        if self.against is not None:
            probes = {"probe": probes[""], "against": ProbeConfig.of(self.against)}
        device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        options = ModelConfig.of(self.model or ModelConfig())
        run = None if self.run is None else RunFolder(Path(self.run).expanduser())
        precision = precision_of_run(run, self.precision)
        loader = ModelLoader(options, self.model is not None, precision, device)
        trained: Sequence[str] | None = self.trained
        reference = self.reference
        if self.run is not None:
            header = read_header(snapshots_of(Path(self.run).expanduser())[0].path)
            trained, reference = header.trained_languages if trained is None else trained, reference or header.reference
        counted, told_by = self._counted(), ""
        if trained is None and (told := common_languages([model.source for model in counted])) is not None:
            (trained, towards), told_by = told
            reference = towards if reference is None else reference
        reference = REFERENCE if reference is None else reference
        kept = self._kept / "counts"
        identifier, site = identifier_of(self.identifier), self.probe.site
        found = Recount(
            counted,
            probes,
            loader,
            kept,
            tuple(trained or ()),
            reference,
            told_by,
            beside_of(identifier, site),
            control=None if self.control is None else ProbeConfig.of(self.control),
            beside_control=None if self.control is None else beside_of_control(identifier, site),
        )
        if beside is not None:
            found.share_texts(beside)
        found.check()
        if beside is None:
            found.check_shapes()
        found.check_identifier(identifier)
        found.check_control()
        return found

    def records(self, recount: Recount | None) -> list[StoredCounts]:
        """The counts that are asked; those of `recount` need not be there yet."""
        if recount is not None:
            records = recount.records()
        elif self.run is not None:
            records = snapshots_of(Path(self.run).expanduser())
        else:
            assert self.counts is not None
            path = Path(self.counts).expanduser()
            records = stored_counts(path, self.counts_format, self.classify_languages, self.counts_tag)
        return parts(records, self.classify_languages, self.shards, self.denominator)

    def _check_sources(self) -> None:
        problems = []
        given = [name for name in ("run", "counts") if getattr(self, name) is not None]
        if len(given) > 1:
            problems.append(Problem("command line", "both run and counts are set", "one of them"))
        if not given and not self.models:
            fix = "Write run=runs/demo, models=[FOLDER,FOLDER], or counts=FOLDER counts_format=..."
            problems.append(Problem("command line", "nothing is set to analyse", "a run, models or counts", fix))
        if self.log and self.wandb.resolved_mode() == "disabled":
            expected, fix = "a mode that logs", "Set wandb.mode=auto; by default it is that of the run."
            problems.append(Problem("log", "true, but wandb.mode is disabled", expected, fix))
        problems += self._secrets() + self._identifier_problems()
        if self.counts is not None and self.models:
            problems.append(Problem("command line", "both models and counts are set", "one of them"))
        if self.recount and self.run is None:
            problems.append(Problem("recount", "true, but there is no run", "run=FOLDER", "Or name models=[...]."))
        if self.texts is not None and self.counts is not None:
            found = "asked for, but of stored counts, which have neither model nor text"
            problems.append(Problem("texts", found, "null", "Set run=FOLDER, or models=[...]."))
        if self.run is not None and self._loads_models:
            config = RunFolder(Path(self.run).expanduser()).config
            if not config.is_file():
                fix = "Name them instead: models=[BASE,CHECKPOINT,...] probe.source.path=..., without run."
                found = f"there is no {config}, which says the model and the probe"
                problems.append(Problem("run", found, "a run of alignlab.train", fix))
        if problems:
            raise InputError(*problems)

    def _identifier_problems(self) -> list[Problem]:
        """What is asked for by name and the identifier cannot give: kinds follow from tau, and so do resamples."""
        identifier = identifier_of(self.identifier)
        name = name_of(identifier)
        problems = [] if self._reads_beside else reading_problems(identifier)
        if self._reads_beside and self.counts is not None:
            fix = "Set run=FOLDER, or models=[...]: it then reads the text once more for each model."
            problems += [replace(problem, fix=fix) for problem in reading_problems(identifier)]
        if isinstance(identifier, ImportanceIdentifier):
            sites = {"probe.site": self.probe.site} | ({"against.site": self.against.site} if self.against else {})
            problems += [
                Problem(key, f"{at}, where {name} removes no neurons", f"one of identifier.sites: {', '.join(among)}")
                for key, at in sites.items()
                if (among := identifier.wanted.sites) and at not in among
            ]
        if identifier.reads == "means" and self.shards is not None:
            found = f"{self.shards}, but {name} reads means of documents, which are in no shards"
            problems.append(Problem("shards", found, "null", "Ask for other text with probe."))
        problems += self._text_problems(identifier, name)
        if has_tau(identifier):
            return problems
        why = f"{name} finds sets only, and so no degrees and kinds"
        needing = [] if self.analyses == USUAL else [one for one in self.analyses if ANALYSES[one].needs_degree]
        if needing:
            fix = "Leave them out, or use ternary or lape."
            problems.append(Problem("analyses", f"{' '.join(needing)}, but {why}", "analyses of sets", fix))
        if self.intervals != "none":
            problems.append(Problem("intervals", f"{self.intervals}, but {why}", "none", "Set intervals=none."))
        if self.log:
            problems.append(Problem("log", f"true, but {why}, which W&B shows", "false"))
        return problems

    def _text_problems(self, identifier: Identifier, name: str) -> list[Problem]:
        """What of the texts an identifier cannot take: other than right answers, a control set, or another site."""
        texts = {"probe": self.probe, "against": self.against, "control": self.control}
        problems = []
        if self.control is not None and not isinstance(identifier, ControlledIdentifier):
            found, fix = f"set, but {name} subtracts none", "Leave it out, or set identifier.name=attribution."
            problems.append(Problem("control", found, "null", fix))
        for key, text in texts.items():
            if text is None:
                continue
            if isinstance(identifier, AttributionConfig) and text.scope != "response":
                found = f"{text.scope}, but attribution asks for the probability of answers"
                problems.append(Problem(f"{key}.scope", found, "response"))
            if isinstance(identifier, AttributionConfig) and text.responses != "reference":
                found = f"{text.responses}, but attribution asks for the probability of right answers"
                problems.append(Problem(f"{key}.responses", found, "reference"))
            if isinstance(identifier, AtSiteOfProbe) and text.site != self.probe.site:
                problems.append(Problem(f"{key}.site", text.site, f"{self.probe.site}, as in probe"))
        return problems

    @property
    def _reads_beside(self) -> bool:
        """Whether the identifier classifies what a run does not record as it goes: means of activations, importance."""
        return identifier_of(self.identifier).reads != "counts"

    @property
    def _counts_again(self) -> bool:
        """Whether models are loaded: asked for, or needed for what is recorded beside counts."""
        return self.recount or bool(self.models) or (self._reads_beside and self.run is not None)

    @property
    def _loads_models(self) -> bool:
        return self._counts_again or self.texts is not None

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """The neurons that are named, each once."""
        pairs = [(int(layer), int(neuron)) for layer, neuron in (name.split(".") for name in self.neurons)]
        return list(dict.fromkeys(pairs))

    @property
    def asked(self) -> list[str]:
        """The analyses but those that the identifier cannot answer; where these were named, they have been refused."""
        return [name for name in self.analyses if self._answers(name)]

    def _answers(self, analysis: str) -> bool:
        return has_tau(identifier_of(self.identifier)) or not ANALYSES[analysis].needs_degree

    def _secrets(self) -> list[Problem]:
        """Names that would tell a secret, and settings that the run's config hides; those that are not used may."""
        plain = to_plain(self)
        names = ["folder", *(["wandb.project", "wandb.entity", "wandb.group", "wandb.tags"] if self.log else [])]
        used = ["models", "model", "probe", "against", "control"] if self._loads_models else []
        used += ["wandb"] if self.log else []
        return secret_problems(plain, names) + hidden_problems({key: plain[key] for key in used})

    def _counted(self) -> list[ModelToCount]:
        """The models to count: those named, or the base and every checkpoint of the run."""
        if self.run is None:
            return [ModelToCount(hide(Path(source).name), source) for source in self.models]
        folder = RunFolder(Path(self.run).expanduser())
        steps = {str(step): step for step in folder.checkpoint_steps()}
        base = self.model.source if self.model else ""
        found, problems = [], []
        for name in self.models or ["0", *steps]:
            if name == "0":
                found.append(ModelToCount("step 0", base, 0))
            elif name in steps:
                found.append(ModelToCount(f"step {name}", str(folder.checkpoint(steps[name])), steps[name]))
            elif name.isdigit():
                expected = f"one of: 0 (the base), {', '.join(steps)}"
                problems.append(Problem("models", f"the run has no checkpoint of step {name}", expected))
            else:
                found.append(ModelToCount(hide(Path(name).name), name))
        if problems:
            raise InputError(*problems)
        return found

    def inquiry(self, also: Sequence[str] = ()) -> Inquiry:
        """What is asked of each record, and `also` these analyses."""
        resampling = None
        if self.intervals != "none":
            options = to_plain(self)["identifier"]
            resampling = Resampling(
                identifier_of(self.identifier), options, self.kinds, self.resamples, self.seed, self._kept / "cache"
            )
        resampled: Literal["ends", "all"] = "all" if self.intervals == "all" else "ends"
        asked = [name for name in dict.fromkeys([*self.analyses, *also]) if self._answers(name)]
        return Inquiry(
            identifier_of(self.identifier),
            asked,
            self.kinds,
            self.trained,
            self.reference,
            tuple(self._pairs),
            resampling,
            resampled,
            classified=tuple(self.classify_languages or ()),
            shown=None if self.show_languages is None else tuple(self.show_languages),
        )

    @property
    def results(self) -> Path:
        """The folder of the results: the same question has the same folder."""
        if self.folder is not None:
            return Path(self.folder).expanduser()
        name = to_plain(self)["identifier"]["name"]
        return self._kept / f"{name}-{hashlib.sha256(self.document.encode()).hexdigest()[:8]}"

    @property
    def _kept(self) -> Path:
        """What serves other questions too, and results without a folder of their own: never beside a user's folder."""
        return (Path("runs") if self.run is None else Path(self.run).expanduser()) / "analysis"

    @property
    def document(self) -> str:
        """The question as YAML, without secrets: it is written, and may be uploaded."""
        return to_yaml(
            self.model_copy(update={"dry_run": False, "folder": None, "log": False, "wandb": WandbOptions()}),
            hide_all,
        )

    def wandb_run(self, kind: Literal["report", "recount", "reclassify"] | None = None) -> WandbRun | None:
        """The W&B run that this is logged to; None where it is not.  kind: by default what this analysis does."""
        if not self.log:
            return None
        run = None if self.run is None else RunFolder(Path(self.run).expanduser())
        shown = hide_all(to_plain(self.model_copy(update={"folder": str(self.results)})))
        what = "report" if kind == "report" else self.results.name
        name = f"{run.path.name} {what}" if run is not None else what
        kind = kind or ("recount" if self._counts_again else "reclassify")
        return WandbConfig.of(self.wandb).build_analysis(self._kept, name, shown, kind, run)

    @property
    def by_step(self) -> bool:
        """Whether the records are those of the rising steps of a run, each once."""
        return self.run is not None and not self.models and self.against is None

    def intervals_plan(self, records: Sequence[StoredCounts], recount: Recount | None) -> str:
        """What the intervals are made of, and about how long that takes here."""
        if self.intervals == "none":
            return "none (intervals=ends for those of the first and the last record)"
        number = len(records) if self.intervals == "all" else min(len(records), 2)
        shape = records[0].load().shape if recount is None else recount.shape()
        if shape[1] < 2:
            fix = "Set intervals=none, or count with probe.shards=20, and documents of two clusters or more."
            found = f"{self.intervals}, but the counts have one shard"
            raise InputError(Problem("intervals", found, "two shards or more to resample", fix))
        moved = f" and {DRAWS:,} draws of reassigned movement" if number > 1 else ""
        seconds = seconds_of_intervals(identifier_of(self.identifier), shape, self.resamples, number)
        return (
            f"{self.resamples} resamples of {number} record{'s' * (number > 1)}{moved}, about "
            f"{console.duration(seconds)}; what was drawn before is kept"
        )

    def show_plan(
        self, records: Sequence[StoredCounts], recount: Recount | None, texts: TextsAsked | None = None
    ) -> None:
        """Print what will be asked of what."""
        identifier = to_plain(self)["identifier"]
        name = identifier.pop("name")
        options = settings_in_words(identifier)
        left_out = [analysis for analysis in self.analyses if analysis not in self.asked]
        rows = _counting_rows(recount, records) if recount else _reading_rows(records)
        few = ""
        has_kinds = has_tau(identifier_of(self.identifier))
        if recount is not None and has_kinds:  # a run's own plan has warned of it
            layers, width = recount.shape()[2:]
            few = small_selection(identifier["top_rate"], layers * width)
        console.heading("Plan of the analysis")
        console.table(
            [
                *rows,
                *([("labels", self.labels.note)] if self.labels.note else []),
                ("identifier", f"{name} ({options})" if options else name),
                *([("warning", few)] if few else []),
                *([("kinds", self.kinds)] if has_kinds else []),
                ("analyses", " ".join(self.asked)),
                *([("left out", f"{' '.join(left_out)}: {name} finds sets only, and so no kinds")] if left_out else []),
                ("intervals", self.intervals_plan(records, recount)),
                *([("texts", texts.plan)] if texts is not None else []),
                ("W&B", f"{self.wandb.resolved_mode()}, project {self.wandb.project}" if self.log else "no (log=true)"),
                ("results", str(self.results)),
            ]
        )


def _reading_rows(records: Sequence[StoredCounts]) -> list[tuple[str, str]]:
    size = sum(file.stat().st_size for record in records for file in _files(record.path))
    return [("records", f"{len(records)}, {console.size(size)}: {records[0].path}{' and so on' * (len(records) > 1)}")]


def _counting_rows(recount: Recount, records: Sequence[StoredCounts]) -> list[tuple[str, str]]:
    first = recount.models[0]
    probes = [recount.probe(first, name) for name in recount.probes]
    tokens = sum(len(d) for probe in probes for documents in probe.documents.values() for d in documents)
    missing = len(recount.missing())
    return [
        ("models", f"{len(recount.models)}: {', '.join(model.label for model in recount.models)}"),
        ("probe", f"{' '.join(probes[0].languages)}; scope {probes[0].scope}"),
        *(("shards", probe.dealing) for probe in probes if probe.dealing),
        (
            "counting",
            f"{missing} of {len(records)} records, {tokens:,} tokens a model; "
            + (f"the others are in {recount.folder}" if missing < len(records) else f"kept in {recount.folder}"),
        ),
        *([(recount.beside.name, recount.cost_beside)] if recount.beside else []),
        *([("control", recount.cost_of_control)] if recount.beside_control else []),
        *([("trained", f"{' '.join(recount.trained)}, as {recount.told_by} says")] if recount.told_by else []),
        ("device", f"{recount.loader.device}, {recount.loader.precision}"),
    ]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
