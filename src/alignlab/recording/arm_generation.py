"""What a model answers under many arms: each batch has some prompts under several arms, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from alignlab.models.distributed import world_size
from alignlab.models.edits import Arm, edited
from alignlab.models.layer_traces import decoder_layers
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_sites
from alignlab.recording.arms import ArmPlan, Job, plan_arms
from alignlab.recording.generation import Response, generate, generator_of, prompt_batches
from alignlab.recording.kept import Advance, Kept, KeptJobs, nobody
from alignlab.recording.sampling import Sampling

Prompt = npt.NDArray[np.int32]


def generate_under(
    model: nn.Module,
    prompts: Sequence[Prompt],
    arms: Sequence[Arm],
    *,
    max_new_tokens: int,
    max_tokens_per_batch: int,
    eos_ids: Sequence[int] = (),
    sampling: Sampling | None = None,
    sites: Mapping[SiteName, Sequence[Site]] | None = None,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Advance = nobody,
    kept: Kept | None = None,
) -> list[list[Response]]:
    """The responses to prompts under each arm, by prompt and arm; a collective call where there are several ranks.

    As `generate` otherwise. Arms that do the same are answered once. With `sampling` a prompt draws the same numbers
    under every arm, so that answers under an arm that changes nothing are the same.

    max_tokens_per_batch: padding and new tokens of all rows included.
    sites: those of the model by name, where they have been found.
    advance: told the answers, prompts times arms, of each batch done; first, with `kept=True`, of all that were kept.
    kept: where answers are kept while others are made.
    For edits of a scope the prompt is the padded prompt. Raises InputError for neurons that the model has not.
    """
    lengths = [len(prompt) + max_new_tokens for prompt in prompts]
    padded = next(model.parameters()).dtype != torch.float64
    plan = plan_arms(
        lengths,
        arms,
        layers=len(decoder_layers(model)[1]),
        max_tokens=max_tokens_per_batch,
        batches=lambda lengths, most: prompt_batches(lengths, 0, most, padded=padded),
    )
    names = dict.fromkeys(one.at for arm in plan.distinct for one in arm)
    found = {at: (sites or {}).get(at) or find_sites(model, at) for at in names}
    stops = generator_of(model).generation_config.eos_token_id
    jobs = KeptJobs(kept, plan, [_fingerprint(prompts), max_new_tokens, list(eos_ids), stops, sampling])
    answers: dict[tuple[int, int], Response] = {}

    def keep(job: Job, responses: Sequence[Sequence[Response]]) -> None:
        for text, of_text in zip(job.texts, responses, strict=True):
            answers.update(((text, arm), one) for arm, one in zip(job.chunk.arms, of_text, strict=True))

    done = jobs.read()
    for number, stored in done.items():
        read = [[Response(np.array(tokens, np.int32), ended) for tokens, ended in of_text] for of_text in stored]
        keep(plan.jobs[number], read)
    advance(sum(plan.jobs[number].rows for number in done), kept=True)
    missing = [number for number in range(len(plan.jobs)) if number not in done]
    for start in range(0, len(missing), world_size()):
        together = missing[start : start + world_size()]
        running = _Running(model, plan, [plan.jobs[number] for number in together], found)
        responses = generate(
            model,
            [prompts[text] for text in running.texts],
            max_new_tokens=max_new_tokens,
            max_tokens_per_batch=max_tokens_per_batch,
            eos_ids=eos_ids,
            context=context,
            sampling=replace(sampling, names=[sampling.names[text] for text in running.texts]) if sampling else None,
            batches=[range(*rows) for rows in running.rows],
            around=running.arms,
        )
        for number, rows in zip(together, running.rows, strict=True):
            job = plan.jobs[number]
            own, copies = responses[slice(*rows)], len(job.chunk.arms)
            by_text = [own[first : first + copies] for first in range(0, len(own), copies)]
            jobs.write(number, ([(one.tokens.tolist(), one.ended) for one in of_text] for of_text in by_text))
            keep(job, by_text)
            advance(job.rows)
    return [[answers[text, place] for place in plan.places] for text in range(len(prompts))]


class _Running:
    """Jobs that are generated together, one on each rank.

    texts: the prompt of every row of all jobs.  rows: where those of each job begin and end.
    """

    def __init__(
        self, model: nn.Module, plan: ArmPlan, jobs: Sequence[Job], sites: Mapping[SiteName, Sequence[Site]]
    ) -> None:
        self._model, self._plan, self._jobs, self._sites = model, plan, jobs, sites
        self.texts = [text for job in jobs for text in job.texts for _ in job.chunk.arms]
        self.rows = list(pairwise([0, *accumulate(job.rows for job in jobs)]))

    def arms(self, rows: Sequence[int], length: int) -> AbstractContextManager[object]:
        """The arms of a batch, which is all rows of one job.  length: tokens of the padded prompts."""
        job = self._jobs[[start for start, _ in self.rows].index(rows[0])]
        arms = [self._plan.distinct[number] for number in job.chunk.arms]
        of = torch.arange(len(arms)).repeat(len(job.texts))
        return edited(self._model, arms, of, prompt=length, sites=self._sites)


def _fingerprint(prompts: Sequence[Prompt]) -> str:
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(f"{len(prompt)}\0".encode() + prompt.tobytes())
    return digest.hexdigest()
