"""Tasks of lm-evaluation-harness (Gao et al. 2024) on a model in memory, under an intervention, item by item.

XNLI, Belebele, XQuAD, INCLUDE, FLORES and whatever else it knows. It is the extra `lmeval`, and is imported when a task
is run. Its own numbers are handed over as they are, and each document's, from which intervals and paired changes are
made (`accuracy.accuracy`, `estimates.mean`).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab.errors import InputError, did_you_mean
from alignlab.models.distributed import world_size
from alignlab.models.modes import evaluating

INSTALL = "pip install 'alignlab[lmeval]'"


@dataclass(frozen=True)
class HarnessItem:
    """One document of a task.

    number: in the task's order, from 0.
    fingerprint: of the document, by the harness: the same document has the same under every arm.
    values: by metric, such as `acc` and `acc_norm`; those that are no single number are left out, as they are of the
        whole corpus (BLEU).
    nats: negative log-likelihoods of what was scored, such as the options; empty where the model wrote text.
    answers: what the model wrote; empty where texts were scored.
    """

    number: int
    fingerprint: str
    values: Mapping[str, float]
    nats: Sequence[float] = ()
    answers: Sequence[str] = ()


@dataclass(frozen=True)
class HarnessResult:
    """What the harness says of one task.

    task, version: as the harness has them.
    totals: by metric, as the harness aggregates it, such as `acc`; with the filter behind a comma where it is not
        `none`.
    items: in the task's order.
    """

    task: str
    version: str
    totals: Mapping[str, float]
    items: Sequence[HarnessItem] = field(repr=False)

    def values(self, metric: str) -> np.ndarray:
        """(n,) float64 of a metric, document by document. Raises InputError where the harness logs none."""
        known = sorted(set.intersection(*(set(item.values) for item in self.items)) if self.items else set())
        if metric not in known:
            expected = f"one of: {', '.join(known) or 'none'}"
            raise InputError.of(f"{self.task}: metric", f"{metric!r}", expected, did_you_mean(metric, known))
        return np.array([item.values[metric] for item in self.items])


def run_tasks(
    model: nn.Module,
    tokenizer: Any,
    tasks: Sequence[str | Mapping[str, Any]],
    *,
    folder: Path | None = None,
    intervention: Callable[[], AbstractContextManager[object]] = nullcontext,
    batch_size: int = 8,
    limit: int | None = None,
    few_shot: int | None = None,
    chat: bool = False,
    seed: int = 0,
) -> list[HarnessResult]:
    """Run tasks of the harness on a model and its tokenizer, in the order in which the harness has them.

    tasks: their names, groups, or tasks as mappings of the harness's own format (data files may be local).
    folder: with task files of your own (YAML).
    intervention: entered around the whole evaluation, such as `lambda: edit(model, sites, change)`; the harness's
        batches have its own order, so an intervention may not depend on the row.
    limit: first documents of each task; all by default.  few_shot: examples before each document; the task's default.
    chat: wrap prompts in the tokenizer's chat template.  seed: of the few-shot examples, and of sampling.

    Modes, random numbers, the generation config and the tokenizer are left as they were. Raises InputError where the
    extra is not installed, for an unknown task, and with several ranks.
    """
    lm_eval = _harness()
    if world_size() > 1:
        raise InputError.of("tasks of lm-evaluation-harness", f"{world_size()} ranks", "one", "Run it on one process.")
    # Its thousands of task files are read where one may be meant.
    named = any(isinstance(task, str) or not isinstance(task.get("task"), str) for task in tasks)
    manager = lm_eval.tasks.TaskManager(
        include_path=str(folder) if folder is not None else None, include_defaults=named
    )
    _check_known([task for task in tasks if isinstance(task, str)], manager)
    with _random_numbers_kept(), evaluating(model), torch.no_grad(), intervention():
        reader = lm_eval.models.huggingface.HFLM(
            pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size
        )
        found = lm_eval.simple_evaluate(
            model=reader,
            tasks=[task if isinstance(task, str) else dict(task) for task in tasks],
            task_manager=manager,
            num_fewshot=few_shot,
            limit=limit,
            apply_chat_template=chat,
            bootstrap_iters=0,
            log_samples=True,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    return [_result(name, samples, found) for name, samples in found["samples"].items()]


def _harness() -> Any:
    try:
        import lm_eval
        import lm_eval.models.huggingface
        import lm_eval.tasks
    except ImportError as error:
        found = f"lm-evaluation-harness is not installed ({error})"
        raise InputError.of("tasks of lm-evaluation-harness", found, "the extra lmeval", f"{INSTALL}") from None
    return lm_eval


def _check_known(names: Sequence[str], manager: Any) -> None:
    known = list(manager.all_tasks)
    if not names:
        return
    unknown = [name for name in names if not manager.match_tasks([name])]
    if unknown:
        hint = did_you_mean(unknown[0], known)
        expected = f"a name that the harness knows ({len(known):,} do), or a task as a mapping"
        raise InputError.of("tasks", f"unknown {', '.join(map(repr, unknown))}", expected, hint)


def _result(name: str, samples: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> HarnessResult:
    items: dict[int, HarnessItem] = {}
    for sample in samples:  # a document comes once for each filter of its answers
        number, responses = sample["doc_id"], sample["filtered_resps"]
        values = {
            _named(metric, sample["filter"]): float(sample[metric])
            for metric in sample["metrics"]
            if isinstance(sample[metric], bool | int | float | np.number)
        }
        before = items[number].values if number in items else {}
        items[number] = HarnessItem(
            number,
            str(sample["doc_hash"]),
            {**before, **values},
            nats=[-float(one[0]) for one in responses if isinstance(one, tuple)],
            answers=[one for one in responses if isinstance(one, str)],
        )
    totals = {
        metric.removesuffix(",none"): float(value)
        for metric, value in found["results"][name].items()
        if isinstance(value, int | float) and "_stderr" not in metric and "," in metric
    }
    version = str(found["versions"].get(name, ""))
    return HarnessResult(name, version, totals, [items[number] for number in sorted(items)])


def _named(metric: str, kept: str) -> str:
    return metric if kept == "none" else f"{metric},{kept}"


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Random numbers go on after the block as if it had drawn none: those of Python, numpy and torch."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002, the harness seeds the global one
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
