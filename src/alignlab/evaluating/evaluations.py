"""An evaluation: planned, measured on all ranks record by record, kept and told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace

from torch import nn

from alignlab import console
from alignlab.config import to_plain
from alignlab.evaluating.folder import EvaluationFolder
from alignlab.evaluating.interventions import Under, means_of
from alignlab.evaluating.options import EvaluateOptions
from alignlab.evaluating.plan import EvaluationPlan
from alignlab.evaluating.plan_table import show_plan
from alignlab.evaluating.results import rows_of, show_results
from alignlab.evaluating.task import Measuring
from alignlab.models.distributed import broadcast, from_first, is_first, join, wait_for_all
from alignlab.models.edits import Arm
from alignlab.models.precision import precision_of
from alignlab.neurons.table import write_csv
from alignlab.recording.kept import Kept
from alignlab.recording.means import ActivationMeans
from alignlab.run_models import NamedModel
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings

_NAMES = ("folder", "name", "run", "models", "model.source")


def run(options: EvaluateOptions) -> None:
    """Plan, measure what is missing, and say what was found; from the records alone where nothing is."""
    check_settings(to_plain(options), _NAMES)
    join()
    plan = EvaluationPlan(options)
    plan.check_options()
    with ExitStack() as held:
        from_first(lambda: _hold(plan, held))
        plan.check()
        missing = from_first(lambda: [work.digest for work in plan.works if plan.folder.load(work.digest) is None])
        show_plan(plan, missing)
        if options.dry_run:
            console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
            return
        _measure(plan, missing)
        if is_first():
            _tell(plan)


def _hold(plan: EvaluationPlan, held: ExitStack) -> None:
    check_writable(plan.folder.path, "folder")
    plan.folder.check_ours()  # before the lock, which would leave a file in somebody else's folder
    if not plan.options.dry_run:
        held.enter_context(plan.folder.locked())


def _measure(plan: EvaluationPlan, missing: list[str]) -> None:
    """Measure what is missing, model after model, so that each is loaded once; rank zero writes."""
    todo, folder = set(missing), plan.folder
    context = precision_of(plan.loader.precision, plan.loader.device).forward_context
    begun = False
    for model in plan.models:
        works = [work for work in plan.works if work.model is model and work.digest in todo]
        if not works:
            continue
        loaded = plan.loader.load(model.source)
        if not begun:
            # Not before a model is there: a refusal until here leaves the folder as it was.
            from_first(folder.begin)
            begun = True
        fingerprint = plan.loader.digest(model.source)
        arms = _Arms(folder, loaded, fingerprint[:24], model, context)
        for work in works:
            if broadcast(work.digest not in todo):  # the same weights under another name
                continue
            under = () if work.under is None else (work.under.name,)
            told = ", ".join([work.task.name, model.label, *under])
            with console.progress(told, len(work.task.texts) * work.arms) as advance:
                on = Measuring(
                    loaded,
                    plan.origin(model),
                    context,
                    plan.options.max_tokens_per_batch,
                    Kept(folder.parts(work.digest), fingerprint),
                    advance,
                )
                on = on if work.under is None else arms.of(work.under, on)
                measured = work.task.measure(on)
            if is_first():
                folder.save(work.digest, measured)
            todo.discard(work.digest)
            wait_for_all()
        if is_first():
            folder.clear_means()


@dataclass
class _Arms:
    """The arms of interventions on one model; its means are recorded once, when they are first asked for."""

    folder: EvaluationFolder
    model: nn.Module
    digest: str
    named: NamedModel
    context: Callable[[], AbstractContextManager[object]]
    _means: dict[str, ActivationMeans] = field(default_factory=dict)
    _made: dict[str, tuple[Arm, ...]] = field(default_factory=dict)

    def of(self, under: Under, on: Measuring) -> Measuring:
        """The measuring under an intervention and its controls."""
        if under.name not in self._made:
            self._made[under.name] = under.arms(self._means_for(under))
        return replace(on, labels=under.labels, arms=self._made[under.name], sites=under.sites(self.model))

    def _means_for(self, under: Under) -> ActivationMeans | None:
        if not under.needs_means:
            return None
        assert under.found_on is not None
        text = under.found_on.fingerprint
        if text not in self._means:
            path = self.folder.means(self.digest, text)
            self._means[text] = means_of(self.model, under, path, self.named.step, self.context, self.named.label)
        return self._means[text]


def _tell(plan: EvaluationPlan) -> None:
    """Write the table, from the records, and show it."""
    folder = plan.folder
    folder.begin()
    for work in plan.works:  # where a process was killed as it did so
        folder.clear_parts(work.digest)
    folder.clear_means()
    rows = rows_of(plan)
    write_csv(folder.table, rows)
    folder.end(
        plan.document,
        [
            (work.model.label, work.task.name, "" if work.under is None else work.under.name, work.digest)
            for work in plan.works
        ],
    )
    show_results(plan, rows)
