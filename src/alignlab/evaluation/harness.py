"""Tasks of lm-evaluation-harness (Gao et al. 2024) on a model in memory, under an intervention, item by item.

XNLI, Belebele, XQuAD, INCLUDE, FLORES and whatever else it knows. It is the extra `lmeval`, and is imported when a task
is run. Its own numbers are handed over as they are, and each document's, from which intervals and paired changes are
made (`accuracy.accuracy`, `estimates.mean`).
"""

from __future__ import annotations

import copy
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab.errors import InputError, did_you_mean
from alignlab.models.distributed import world_size
from alignlab.models.modes import evaluating

INSTALL = "pip install 'alignlab[lmeval]'"
# How many tokens the harness lets a model write where a task does not say.
_NEW_TOKENS = 256


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
    folder: with task files of your own (YAML). Those of the harness are read only where it lacks a name, so a group
        in it names tasks in it.
    intervention: entered around the whole evaluation, such as `lambda: edit(model, sites, change)`; the harness's
        batches have its own order, so an intervention may not depend on the row.
    limit: first documents of each task; all by default.  few_shot: examples before each document; the task's default.
    chat: wrap prompts in the tokenizer's chat template.  seed: of the few-shot examples, and of sampling.

    Modes, random numbers, the generation config and the tokenizer are left as they were. Raises InputError where the
    extra is not installed, for an unknown task, and with several ranks.
    """
    lm_eval = harness()
    check_one_rank()
    with _random_numbers_kept(), evaluating(model), torch.no_grad(), intervention():
        reader = lm_eval.models.huggingface.HFLM(
            pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size
        )
        found = _evaluated(reader, tasks, folder, few_shot, limit, chat, seed)
    return [_result(name, samples, found) for name, samples in found["samples"].items()]


@dataclass(frozen=True)
class HarnessTexts:
    """What the harness would ask a model in one task.

    metrics: those that it has of each document, as `HarnessItem.values`.
    totals: those that it aggregates, as `HarnessResult.totals`.
    items: of each document its number and the harness's fingerprint of it.
    requests: (number of the document, text, most new tokens); of an option the context with it.
    options: of each document how many options it has; empty where these are not what it asks.
    digest: changes with whatever is asked, with what is right, and with the versions of the task and the harness.
    """

    task: str
    version: str
    metrics: tuple[str, ...]
    totals: tuple[str, ...]
    items: Sequence[tuple[int, str]] = field(repr=False)
    requests: Sequence[tuple[int, str, int]] = field(repr=False)
    options: Sequence[int] = field(repr=False)
    digest: str


def texts_of_tasks(
    tokenizer: Any,
    tasks: Sequence[str | Mapping[str, Any]],
    *,
    folder: Path | None = None,
    limit: int | None = None,
    few_shot: int | None = None,
    chat: bool = False,
    seed: int = 0,
) -> list[HarnessTexts]:
    """What `run_tasks` would ask, without a model: the harness runs with one that answers nothing.

    Arguments and order are those of `run_tasks`. Raises InputError where the extra is not installed, for an unknown
    task, and for one that the harness cannot put together, such as one whose data are not there.
    """
    lm_eval = harness()
    silent = _silent(lm_eval, tokenizer)
    try:
        with _random_numbers_kept(), _quiet():
            found = _evaluated(silent, tasks, folder, few_shot, limit, chat, seed)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # task files may hold code
        names = ", ".join(str(task if isinstance(task, str) else task.get("task")) for task in tasks)
        found = f"{names} cannot be put together ({_said(error)})"
        raise InputError.of("tasks", found, "a task that runs, with data to run on") from error
    asked: dict[str, list[Any]] = {}
    for one in silent.requests:
        asked.setdefault(one.task_name, []).append(one)
    return [
        _texts(_result(name, samples, found), samples, asked[name], found["configs"][name], lm_eval.__version__)
        for name, samples in found["samples"].items()
    ]


def check_one_rank() -> None:
    """Refuse several ranks: the harness deals documents to ranks by itself, and only its own. Raises InputError."""
    if world_size() > 1:
        raise InputError.of("tasks of lm-evaluation-harness", f"{world_size()} ranks", "one", "Run it on one process.")


def _said(error: BaseException) -> str:
    """What was wrong, and what of it was first: `datasets` says only that it could not make a data set."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    each = [f"{type(one).__name__}: {one}".partition("\n")[0] for one in dict.fromkeys([error, first])]
    return "; ".join(f"{one:.300}" for one in each)


def _evaluated(
    reader: Any,
    tasks: Sequence[str | Mapping[str, Any]],
    folder: Path | None,
    few_shot: int | None,
    limit: int | None,
    chat: bool,
    seed: int,
) -> Any:
    """What the harness finds with one of its models."""
    names = [task for task in tasks if isinstance(task, str)]
    own = folder is not None and bool(names) and all(_manager(folder, False).match_tasks([name]) for name in names)
    # Its thousands of task files are read where one may be meant.
    named = any(isinstance(task, str) or not isinstance(task.get("task"), str) for task in tasks) and not own
    manager = _manager(folder, named)
    _check_known(names, manager)
    with _without_environment():
        return harness().simple_evaluate(
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


@cache
def _manager(folder: Path | None, named: bool) -> Any:
    """The task files of a folder, and with `named` those of the harness, of which reading them takes seconds."""
    return harness().tasks.TaskManager(include_path=str(folder) if folder is not None else None, include_defaults=named)


def _silent(lm_eval: Any, tokenizer: Any) -> Any:
    """A model of the harness that answers nothing, and keeps what it is asked in `requests`."""

    class Silent(lm_eval.api.model.LM):
        tokenizer_name = "alignlab"

        def __init__(self) -> None:
            super().__init__()
            self.requests: list[Any] = []

        def loglikelihood(self, requests: list[Any], **_options: Any) -> list[tuple[float, bool]]:
            self.requests += requests
            return [(0.0, False)] * len(requests)

        def loglikelihood_rolling(self, requests: list[Any], **_options: Any) -> list[float]:
            self.requests += requests
            return [0.0] * len(requests)

        def generate_until(self, requests: list[Any], **_options: Any) -> list[str]:
            self.requests += requests
            return [""] * len(requests)

        def apply_chat_template(self, chat_history: list[Any], add_generation_prompt: bool = True) -> str:
            # As HFLM does.
            return str(
                tokenizer.apply_chat_template(
                    chat_history,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=not add_generation_prompt,
                )
            )

    return Silent()


def _texts(
    result: HarnessResult,
    samples: Sequence[Mapping[str, Any]],
    asked: Sequence[Any],
    config: Mapping[str, Any],
    version: str,
) -> HarnessTexts:
    requests, options = [], Counter[int]()
    for one in asked:
        first, *rest = one.args
        choice = one.request_type == "loglikelihood"
        # Without a context an option is asked once more, for its likelihood by itself.
        options[one.doc_id] += choice and bool(first) and config.get("output_type") == "multiple_choice"
        new = rest[0] if one.request_type == "generate_until" and isinstance(rest[0], Mapping) else {}
        most = int(new.get("max_gen_toks", _NEW_TOKENS)) if one.request_type == "generate_until" else 0
        requests.append((one.doc_id, first + rest[0] if choice else first, most))
    numbers = [item.number for item in result.items]
    metrics = set.intersection(*(set(item.values) for item in result.items)) if result.items else set[str]()
    ordered = tuple(name for name in result.items[0].values if name in metrics) if result.items else ()
    about = [
        [version, result.task, result.version, ordered],
        [(one.doc_id, one.request_type, one.args) for one in asked],
        [(sample["doc_hash"], sample["target_hash"], sample["filter"]) for sample in samples],
    ]
    return HarnessTexts(
        result.task,
        result.version,
        ordered,
        tuple(result.totals),
        [(item.number, item.fingerprint) for item in result.items],
        requests,
        [options[number] for number in numbers] if min(options[number] for number in numbers) > 1 else [],
        hashlib.sha256(repr(about).encode()).hexdigest()[:16],
    )


def harness() -> Any:
    """The library. Raises InputError where it is not installed."""
    try:
        import lm_eval
        import lm_eval.evaluator
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
def _without_environment() -> Iterator[None]:
    """Within the block the harness does not describe the machine with its results.

    It asks pip and compilers for that, seconds after each evaluation, and nobody reads it here.
    """
    evaluator = harness().evaluator
    described = evaluator.add_env_info
    evaluator.add_env_info = lambda _results: None
    try:
        yield
    finally:
        evaluator.add_env_info = described


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block the harness warns of nothing: it will when the tasks are run."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


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
