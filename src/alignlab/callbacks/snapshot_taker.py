"""What every tracker does, whichever trainer calls it: count, classify, write and show a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from alignlab import console
from alignlab.analysis.snapshots import Snapshot, summarise
from alignlab.callbacks.schedule import Schedule
from alignlab.callbacks.tracker_files import TrackerFiles
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.models.distributed import from_first
from alignlab.models.finite import check_finite
from alignlab.models.load import identity
from alignlab.models.modules import find_model
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.identifiers import Identifier, TernaryConfig, require_tau
from alignlab.neurons.selection import small_selection
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, PromptProbe, build_probe
from alignlab.recording.responses import Answers, check_can_answer
from alignlab.recording.tallies import check_statistics
from alignlab.reporting.counts_table import table_note, table_of, table_title


class SnapshotTaker(Schedule):
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
    trained: languages in training.
    reference: the language that they are aligned to; all others of the probe are unseen. Empty for none.
    identifier: how neurons are classified; one with a tau, as it is kinds that are followed.
    loss: also measure the loss over the counted tokens.
    statistics: what is counted beside the firings of each neuron: `documents` with a firing; `moments`, sum and sum of
        squares of its activations; their `maximum`.
    model: gives the Hugging Face model of a module that holds several; by default the one it holds.
    show: print a table at every snapshot.
    planned: the plan of a run has been shown, with its warnings, and its config says the identifier; else the tracker
        warns of a selection of few neurons and writes the identifier to `neurons/identifier.yaml`.
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
        reference: str = REFERENCE,
        identifier: Identifier | None = None,
        loss: bool = True,
        statistics: Sequence[str] = ("documents",),
        model: Callable[[Any], nn.Module] | None = None,
        show: bool = True,
        planned: bool = False,
        abandonable: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
    ) -> None:
        self.identifier: Identifier = require_tau(identifier or TernaryConfig())
        self.probe = probe if isinstance(probe, Probe | PromptProbe) else self._probe_of_texts(probe, tokenizer)
        self.folder = Path(folder)
        self.files = TrackerFiles(self.folder)
        self.every_n_steps = every_n_steps
        self.steps = steps
        self.overwrite = overwrite
        self.trained = tuple(trained)
        self.reference = reference
        self.loss = loss
        self.statistics = check_statistics(statistics)
        self.find_model: Callable[[Any], nn.Module] = model or self._find_model
        self.show = show
        self.planned = planned
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

    def start(self, model: nn.Module, step: int, *, main: bool) -> None:
        """Prepare for a training that begins, or goes on (`pick_up`), at this step; every rank has to call it.

        Raises InputError, beside what `prepare` and `pick_up` raise, for a folder where an earlier training was
        tracked, unless that is to be replaced: two cannot share one table. What a training that was stopped before its
        second snapshot has left is replaced.
        """
        self.prepare(model)
        if main and not self.planned:
            self._warn()
        if step:
            self.pick_up(step, main=main)
        else:
            from_first(lambda: self.files.clear(overwrite=self.overwrite) if main else None)
        if not self.planned:
            from_first(lambda: self.files.write_identifier(self.identifier) if main else None)

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
        counts: ActivationCounts | None = None
        with _uncompiled(), self.abandonable() as wanted:
            if wanted:
                counts = count_firings(
                    model,
                    self._sites,
                    self.probe,
                    origin=Origin(name, revision, step, self.trained, self.reference),
                    loss=self.loss,
                    statistics=self.statistics,
                    answers=Answers(self.files.neurons, step, main),
                    context=context,
                    progress=lambda tokens: console.progress(f"Tokens read at step {step}", tokens),
                )
        if counts is None:
            return None
        snapshot = self._keep(counts)
        self.recalled = False
        if main:
            self.files.write(counts, snapshot)
            if self.show:
                _print(snapshot, counts)
        return snapshot

    def pick_up(self, step: int, *, main: bool = True) -> None:
        """Go on from the snapshots of an earlier process: the first is the anchor, this step's need not be redone.

        The main rank looks at all snapshots before this step; a table that is missing, or not what its counts give, is
        written again. Raises `InputError` on every rank where a snapshot is missing or damaged, or was counted on
        another probe; where the model answers the probe itself, its responses of then have to be there too.
        """
        of_run = (self.probe, self.identifier, self.trained, self.reference, self.steps or ())
        from_first(lambda: self.files.check_earlier(step, *of_run) if main else None)
        for done in sorted({0, step}):
            if self.files.counts(done).is_file():
                self._keep(ActivationCounts.load(self.files.counts(done)))
        self.recalled = True

    def _keep(self, counts: ActivationCounts) -> Snapshot:
        self.last = summarise(counts, self.identifier, self.trained, self.first, reference=self.reference)
        self.first = self.first or self.last
        return self.last

    def _warn(self) -> None:
        """Say it where few neurons will be selected; identifiers need no `top_rate`."""
        top_rate = getattr(self.identifier, "top_rate", None)
        few = small_selection(top_rate, len(self._sites) * self._sites[0].width) if top_rate is not None else ""
        if few:
            console.complain(f"warning: {few}")

    def _find_model(self, module: nn.Module) -> nn.Module:
        return find_model(module, f"{type(self).__name__}(..., model=lambda module: {self.example})")

    def _probe_of_texts(self, texts: Mapping[str, Sequence[str]], tokenizer: Any) -> Probe | PromptProbe:
        if tokenizer is None:
            raise InputError.of(type(self).__name__, "texts without a tokenizer", "the model's tokenizer")
        records = [
            Record(str(number), code, text) for code, lines in texts.items() for number, text in enumerate(lines)
        ]
        return build_probe(records, tokenizer, scope="all")


def _print(snapshot: Snapshot, counts: ActivationCounts) -> None:
    console.say()
    console.heading(table_title(snapshot))
    console.table(*table_of(snapshot))
    console.note(table_note(snapshot))
    if snapshot.result.reason:
        console.note(f"note: {snapshot.result.reason}")
    tokens = zip(counts.languages, counts.language_tokens().tolist(), strict=True)
    if silent := [language for language, count in tokens if count == 0]:
        console.note(f"note: the model answers nothing in {' '.join(silent)}: all probabilities there are 0")


def _uncompiled() -> AbstractContextManager[object]:
    """Run eagerly what is compiled inside the model (its layers, say): the hooks would have it compiled anew."""
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]
