"""What every tracker does, whichever trainer calls it: count, classify, write and show a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import peft
import torch
import transformers
from torch import nn

from alignlab import console
from alignlab.analysis.snapshots import Snapshot, summarise
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem, UnsupportedModelError
from alignlab.manifest import stranger_problem
from alignlab.marks import is_ours
from alignlab.models.distributed import from_first
from alignlab.models.finite import check_finite
from alignlab.models.load import identity
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import Identifier, TernaryConfig, require_tau
from alignlab.neurons.table import collect_csv, csv_text, write_csv
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, PromptProbe, build_probe
from alignlab.recording.responses import Answers, check_can_answer, recall
from alignlab.recording.tallies import check_statistics
from alignlab.recording.writing import refusing
from alignlab.reporting.counts_table import TABLE_ALIGN, TABLE_HEADER, table_note, table_rows, table_title
from alignlab.runs import snapshot_files, step_name, step_of


class SnapshotTaker:
    """Takes snapshots of a model's neurons; the base of the callbacks, which know when and with which precision.

    A snapshot is a counting pass of its own over the probe; it changes neither the model nor the random numbers of the
    training. Its counts go to `<folder>/neurons/step-*.safetensors`, their classification beside them as CSV, the
    tables of all snapshots to `<folder>/neurons.csv`, and responses that the model gives itself into `neurons` too.

    probe: a `Probe`, a `PromptProbe` for the model to answer, or for each language (ISO 639 code) its texts, all tokens
        of which are counted; text i says the same in every language.
    tokenizer: needed with texts only.
    every_n_steps: optimiser steps between snapshots; None takes the first and the last only.
    steps: the very steps at which snapshots are taken, instead; a training that ends elsewhere takes none there.
    folder: where the folder `neurons` is made.
    overwrite: replace the snapshots that an earlier training left in the folder; by default they are refused.
    trained: languages in training; all others of the probe are unseen.
    identifier: how neurons are classified; one with a tau, as it is kinds that are followed.
    loss: also measure the loss over the counted tokens.
    statistics: what is counted beside the firings of each neuron: `documents` with a firing; `moments`, sum and sum of
        squares of its activations; their `maximum`.
    model: gives the Hugging Face model of a module that holds several; by default the one it holds.
    show: print a table at every snapshot.
    abandonable: entered around the counting; gives whether to count, and may end it by swallowing what is raised.

    Raises `InputError` for texts without a tokenizer, a language without a token to count, another statistic, or an
    identifier without kinds.
    """

    example: ClassVar[str] = "module.student"  # how a user of the callback may reach one of several models

    def __init__(
        self,
        probe: Probe | PromptProbe | Mapping[str, Sequence[str]],
        tokenizer: Any = None,
        *,
        folder: Path | str,
        every_n_steps: int | None = None,
        steps: Collection[int] | None = None,
        overwrite: bool = False,
        trained: Sequence[str] = (),
        identifier: Identifier | None = None,
        loss: bool = True,
        statistics: Sequence[str] = ("documents",),
        model: Callable[[Any], nn.Module] | None = None,
        show: bool = True,
        abandonable: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
    ) -> None:
        self.identifier: Identifier = require_tau(identifier or TernaryConfig())
        self.probe = probe if isinstance(probe, Probe | PromptProbe) else self._probe_of_texts(probe, tokenizer)
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.steps = steps
        self.overwrite = overwrite
        self.trained = tuple(trained)
        self.loss = loss
        self.statistics = check_statistics(statistics)
        self.find_model: Callable[[Any], nn.Module] = model or self._find_model
        self.show = show
        self.abandonable = abandonable
        self.recalled = False  # whether the last snapshot is that of an earlier process
        self.first: Snapshot | None = None
        self.last: Snapshot | None = None
        self._sites: list[Site] = []

    def prepare(self, model: nn.Module) -> None:
        """Find the neurons of a model whose training begins; every rank has to call it.

        Raises `UnsupportedModelError` when they cannot be counted exactly, `InputError` for a model that cannot answer
        the prompts of the probe where it is to.
        """
        self.first = self.last = None
        check_can_answer(self.probe, model)
        with _uncompiled():
            self._sites = find_sites(model, self.probe.site)

    def due(self, step: int) -> bool:
        """Whether a snapshot is to be taken after this step."""
        if self.steps is not None:
            return step in self.steps and not self.taken(step)
        return self.every_n_steps is not None and step % self.every_n_steps == 0 and not self.taken(step)

    def due_at_end(self, step: int) -> bool:
        """Whether one is to be taken where the training ends."""
        return self.steps is None and not self.taken(step)

    def taken(self, step: int) -> bool:
        """Whether the last snapshot is that of this step."""
        return self.last is not None and self.last.step == step

    def take(
        self,
        model: nn.Module,
        step: int,
        *,
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
        main: bool = True,
    ) -> Snapshot | None:
        """Count and classify; every rank has to call it, and the main one (`main`) writes and shows.

        context: entered around each forward, such as an autocast.
        None where the counting was left (`abandonable`). Raises InputError for trained weights that are not finite.
        """
        check_finite(model, step)
        name, revision = identity(model)
        counted: list[ActivationCounts] = []
        with _uncompiled(), self.abandonable() as wanted:
            if not wanted:
                return None
            found = count_firings(
                model,
                self._sites,
                self.probe,
                origin=Origin(name, revision, step, self.trained),
                loss=self.loss,
                statistics=self.statistics,
                answers=Answers(self._neurons, step, main),
                context=context,
                progress=lambda tokens: console.progress(f"Counting at step {step}", tokens),
            )
            counted.append(found)
        if not counted:
            return None
        (counts,) = counted
        snapshot = self._keep(counts)
        self.recalled = False
        if main:
            self._write(counts, snapshot)
            if self.show:
                self._print(snapshot, counts)
        return snapshot

    def begin(self, *, main: bool = True) -> None:
        """Make the folder ready for a training that begins; every rank has to call it.

        Raises InputError where an earlier training was tracked there, unless that is to be replaced: two cannot share
        one table. What a training that was stopped before its second snapshot has left is replaced.
        """
        from_first(lambda: self._clear() if main else None)

    def _clear(self) -> None:
        suffixes = ("safetensors", "csv", "responses.jsonl")
        earlier = [path for suffix in suffixes for path in snapshot_files(self._neurons, suffix)]
        table = self.folder / "neurons.csv"
        if others := [path for path in [*earlier, *([table] if table.exists() else [])] if not is_ours(path)]:
            raise InputError(stranger_problem("folder", self.folder, others))
        done = [step_of(path) for path in snapshot_files(self._neurons, "safetensors")]
        if any(done) and not self.overwrite:
            found = f"it holds the snapshots of an earlier training, up to step {max(done)}"
            fix = "Give another folder, or overwrite=True to replace them."
            raise InputError(Problem(f"folder ({self.folder})", found, "a folder of its own", fix))
        for path in earlier:
            path.unlink()

    def pick_up(self, step: int, *, main: bool = True) -> None:
        """Go on from the snapshots of an earlier process: the first is the anchor, this step's need not be redone.

        The main rank looks at all snapshots before this step; a table that is missing, or not what its counts give, is
        written again. Raises `InputError` on every rank where a snapshot is missing or damaged, or was counted on
        another probe; where the model answers the probe itself, its responses of then have to be there too.
        """
        from_first(lambda: self._check_earlier(step) if main else None)
        for done in sorted({0, step}):
            path = self._counts_path(done)
            if path.is_file():
                self._keep(ActivationCounts.load(path))
        self.recalled = True

    def _check_earlier(self, step: int) -> None:
        done = {step_of(path) for path in snapshot_files(self._neurons, "safetensors")}
        expected = {0} | {due for due in self.steps or () if due < step}
        present = sorted(one for one in done if one <= step)
        problems = [_missing(self._counts_path(one), step) for one in sorted(expected - done)]
        first: Snapshot | None = None
        for one in present:
            try:
                counts = self._checked(one)
            except InputError as error:
                problems += [one for one in error.problems if one not in problems]  # responses serve all steps
                continue
            if not problems:
                snapshot = summarise(counts, self.identifier, self.trained, first)
                first = first or snapshot
                self._mend_table(snapshot)
        if problems:
            raise InputError(*problems)
        whole = self.folder / "neurons.csv"
        before = whole.read_bytes() if whole.is_file() else None
        with refusing(self._neurons, "the table"):
            collect_csv([self._table_path(one) for one in present], whole)
        now = whole.read_bytes()
        # It may have gone on to steps that are done again, or have ended before a process was killed.
        if before is None or not (before.startswith(now) or (before and now.startswith(before))):
            console.say(f"note: {whole} {'was missing' if before is None else 'had changed'}: written again")

    def _checked(self, step: int) -> ActivationCounts:
        """A snapshot of this run's. Raises InputError for one that is damaged, or of another probe or site."""
        path = self._counts_path(step)
        counts = ActivationCounts.load(path)
        if counts.data_fingerprint != recall(self.probe, self._neurons, step).fingerprint:
            fix = "Counts on different text cannot be compared: give the same texts, or another folder."
            raise InputError(Problem(f"{path}", "counted on another probe", "the probe of this run", fix))
        if counts.site != self.probe.site:
            found, expected = f"counted at {counts.site}", f"{self.probe.site}, the site of this run"
            raise InputError(Problem(f"{path}", found, expected, "Give the same site, or another folder."))
        return counts

    def _mend_table(self, snapshot: Snapshot) -> None:
        path, text = self._table_path(snapshot.step), csv_text(snapshot.table).encode()
        found = path.read_bytes() if path.is_file() else None
        if found == text:
            return
        console.say(f"note: {path} {'was missing' if found is None else 'had changed'}: written again from its counts")
        with refusing(self._neurons, f"the table of step {snapshot.step}"):
            write_csv(path, snapshot.table)

    def _keep(self, counts: ActivationCounts) -> Snapshot:
        self.last = summarise(counts, self.identifier, self.trained, self.first)
        self.first = self.first or self.last
        return self.last

    @property
    def _neurons(self) -> Path:
        return self.folder / "neurons"

    def _counts_path(self, step: int) -> Path:
        return self._neurons / f"{step_name(step)}.safetensors"

    def _table_path(self, step: int) -> Path:
        return self._neurons / f"{step_name(step)}.csv"

    def _write(self, counts: ActivationCounts, snapshot: Snapshot) -> None:
        with refusing(self._neurons, f"the snapshot of step {snapshot.step}"):
            counts.save(self._counts_path(snapshot.step))
            write_csv(self._table_path(snapshot.step), snapshot.table)
            tables = [path for path in snapshot_files(self._neurons, "csv") if step_of(path) <= snapshot.step]
            collect_csv(tables, self.folder / "neurons.csv")

    def _print(self, snapshot: Snapshot, counts: ActivationCounts) -> None:
        console.say()
        console.heading(table_title(snapshot))
        console.table(table_rows(snapshot), TABLE_HEADER, TABLE_ALIGN)
        console.say(table_note(snapshot))
        if snapshot.result.reason:
            console.say(f"note: {snapshot.result.reason}")
        tokens = zip(counts.languages, counts.language_tokens().tolist(), strict=True)
        silent = [language for language, count in tokens if count == 0]
        if silent:
            console.say(f"note: the model answers nothing in {' '.join(silent)}: all probabilities there are 0")

    def _find_model(self, module: nn.Module) -> nn.Module:
        return find_model(module, f"{type(self).__name__}(..., model=lambda module: {self.example})")

    def _probe_of_texts(self, texts: Mapping[str, Sequence[str]], tokenizer: Any) -> Probe | PromptProbe:
        if tokenizer is None:
            raise InputError(Problem(type(self).__name__, "texts without a tokenizer", "the model's tokenizer"))
        records = [
            Record(str(number), code, text) for code, lines in texts.items() for number, text in enumerate(lines)
        ]
        return build_probe(records, tokenizer, scope="all")


def _missing(path: Path, step: int) -> Problem:
    found = f"there is no such file, and the run is at step {step}"
    done = step_of(path)
    if done == 0:
        fix = "Give the folder in which the run has been tracked from its start."
        return Problem(f"{path}", found, "the snapshot of step 0, to which the others are compared", fix)
    fix = f"Restore it, or remove the checkpoints from step {done} on, so that the run goes on from before it."
    return Problem(f"{path}", found, f"the snapshot of step {done}", fix)


def find_model(module: nn.Module, remedy: str = "NeuronTracker(..., model=lambda module: module.student)") -> nn.Module:
    """The one Hugging Face model in a module, in its PEFT wrapper if it has one, uncompiled and without ddp around it.

    remedy: what to pass where there are several, for the `UnsupportedModelError` then raised.
    """
    kinds = (transformers.PreTrainedModel, peft.PeftModel)
    found = [(name, child) for name, child in module.named_modules() if isinstance(child, kinds)]
    outermost = [(name, child) for name, child in found if not any(_inside(name, other) for other, _ in found)]
    if len(outermost) != 1:
        names = ", ".join(name for name, _ in outermost) or "none"
        fix = f"Pass {remedy} or whatever it is called."
        raise UnsupportedModelError(Problem(type(module).__name__, f"Hugging Face models found: {names}", "one", fix))
    model: nn.Module = outermost[0][1]
    return model


def _inside(name: str, other: str) -> bool:
    return name != other and (other == "" or name.startswith(f"{other}."))


def _uncompiled() -> AbstractContextManager[object]:
    """Run eagerly what is compiled inside the model (its layers, say): the hooks would have it compiled anew."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
