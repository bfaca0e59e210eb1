"""How likely texts are under many arms: all of them in one pass, each forward with several arms side by side.

Rows of a forward are texts times arms. What no arm of the forward changes, the lower layers, is run once for each text
(`models.lower_layers`); an arm that is asked for twice, or that changes nothing, is no forward more. Forwards are dealt
to the ranks, and what each has found can be kept, so that a killed run goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignlab.data.batching import pad, side_by_side
from alignlab.data.encoding import Document, fingerprint
from alignlab.models.distributed import over_ranks, rank, world_size
from alignlab.models.edits import Arm, Made, edited
from alignlab.models.layer_traces import decoder_layers
from alignlab.models.lower_layers import LowerLayers
from alignlab.models.modes import evaluating
from alignlab.models.options import SiteName
from alignlab.models.output_rows import only_rows, predicting_rows, token_losses
from alignlab.models.sites import Site, find_sites
from alignlab.recording.arms import ArmPlan, Chunk, Job, plan_arms
from alignlab.recording.kept import Advance, Kept, KeptJobs, nobody
from alignlab.recording.pieces import NOBODY

Masks = Sequence[npt.NDArray[np.bool_]]
# Tokens of a forward of several texts on a processor: more leave its cache, and are padded more (BENCHMARKS.md).
ON_A_PROCESSOR = 2048


@dataclass(frozen=True)
class Scores:
    """nats: (D, A) float64, negative log-likelihoods of the counted tokens of each document, summed.

    counted: (D,) int64, how many tokens these are.
    forwards: what it has cost, in forwards of one document through all layers, on all ranks together; what was kept
        from earlier costs nothing.
    """

    nats: Tensor
    counted: Tensor
    forwards: float


def score(
    model: nn.Module,
    documents: Sequence[Document],
    arms: Sequence[Arm],
    *,
    max_tokens_per_batch: int,
    counted: Masks | None = None,
    lower: LowerLayers | None = None,
    sites: Mapping[SiteName, Sequence[Site]] | None = None,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Advance = nobody,
    kept: Kept | None = None,
) -> Scores:
    """The likelihood of documents under arms; a collective call where there are several ranks.

    counted: of each document (T,), the tokens whose likelihood is summed; by default those of its answer. The first
        token of a document is predicted by nothing and never counted.
    max_tokens_per_batch: of a forward at most, all its rows and padding counted. On a processor several texts are put
        together up to `ON_A_PROCESSOR` only.
    lower: how lower layers are run once, by `find_lower_layers(model)`; None: every row runs through all of them.
    sites: those of the model by name, where they have been found.
    context: entered around each forward, such as an autocast.
    advance: told the cells, documents times arms, of each forward done; first, with `kept=True`, of all that were kept.
    kept: where they are kept; the folder is the caller's to lock and to clear.

    For edits of a scope the prompt is what comes before the first token of the answer. Sums are float64, of float32
    losses of tokens. Every rank gets the whole. Modes, gradients and random numbers are left as they were.
    Raises InputError for neurons that the model has not.
    """
    masks = counted if counted is not None else [document.answer for document in documents]
    device = next(model.parameters()).device
    plan = plan_of(model, documents, arms, max_tokens_per_batch, device)
    names = dict.fromkeys(one.at for arm in plan.distinct for one in arm)
    found = {at: (sites or {}).get(at) or find_sites(model, at) for at in names}
    scoring = _Scoring(model, documents, masks, plan, lower, found, context)
    nats = torch.zeros((len(documents), len(plan.distinct)), dtype=torch.float64)
    jobs = KeptJobs(kept, plan, [items_fingerprint(documents, masks), lower is not None])

    def fill(number: int, found: Tensor) -> None:
        job = plan.jobs[number]
        nats[torch.tensor(job.texts).unsqueeze(1), torch.tensor(job.chunk.arms)] = found

    done = jobs.read()
    for number, stored in done.items():
        fill(number, torch.tensor(stored, dtype=torch.float64))
    advance(sum(plan.jobs[number].rows for number in done), kept=True)
    missing = [number for number in range(len(plan.jobs)) if number not in done]
    with evaluating(model), torch.no_grad():
        for numbers, sums in scoring.run(missing):
            for number, one in zip(numbers, sums, strict=True):
                jobs.write(number, one.tolist())
                fill(number, one)
                advance(plan.jobs[number].rows)
    forwards = plan.forwards([plan.jobs[number] for number in missing], shared=lower is not None)
    return Scores(nats[:, list(plan.places)], _counts(masks), forwards)


def plan_of(
    model: nn.Module,
    documents: Sequence[Document],
    arms: Sequence[Arm],
    max_tokens_per_batch: int,
    device: torch.device,
) -> ArmPlan:
    """Which forwards `score` runs on that device; the model may be on meta, so that their cost is known before."""
    return plan_arms(
        [len(document) for document in documents],
        arms,
        layers=len(decoder_layers(model)[1]),
        max_tokens=max_tokens_per_batch,
        filled=ON_A_PROCESSOR if device.type == "cpu" else None,
    )


def items_fingerprint(documents: Sequence[Document], counted: Masks | None = None) -> str:
    """Sixteen hexadecimal digits that change with any document and with what is counted of it."""
    digest = hashlib.sha256(fingerprint(documents).encode())
    for mask in counted if counted is not None else [document.answer for document in documents]:
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()[:16]


@dataclass
class _Scoring:
    """What every forward needs."""

    model: nn.Module
    documents: Sequence[Document]
    masks: Masks
    plan: ArmPlan
    lower: LowerLayers | None
    sites: Mapping[SiteName, Sequence[Site]]
    context: Callable[[], AbstractContextManager[object]]
    device: torch.device = field(init=False)
    laid_out: tuple[Chunk | None, Made] = field(init=False, default=(None, {}))

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device

    def run(self, numbers: Sequence[int]) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Of these jobs as many at once as there are ranks: their numbers, and what each has found, (B, A)."""
        ranks = world_size()
        for start in range(0, len(numbers), ranks):
            together = list(numbers[start : start + ranks])
            found = torch.zeros((len(together), max(self.plan.jobs[number].rows for number in together)),
                                dtype=torch.float64)  # fmt: skip
            if rank() < len(together):
                job = self.plan.jobs[together[rank()]]
                found[rank(), : job.rows] = self._nats(job)
            else:  # forwards of a sharded model are collective
                self._forward([NOBODY], [NOBODY.answer], 1)
            found = over_ranks(found.to(self.device)).cpu() if ranks > 1 else found
            jobs = [self.plan.jobs[number] for number in together]
            yield together, [row[: job.rows].view(len(job.texts), -1) for row, job in zip(found, jobs, strict=True)]

    def _nats(self, job: Job) -> Tensor:
        """(B * A,) float64, of the texts of a job one after another, each under its arms in turn."""
        documents = [self.documents[text] for text in job.texts]
        copies = len(job.chunk.arms)
        rows = torch.arange(copies).repeat(len(documents))
        prompt = torch.tensor([_prompt(document) for document in documents]).repeat_interleave(copies)
        arms = [self.plan.distinct[number] for number in job.chunk.arms]
        if self.laid_out[0] != job.chunk:  # jobs of a chunk follow one another: what it does is kept of one at a time
            self.laid_out = job.chunk, {}
        made = self.laid_out[1]
        with ExitStack() as stack:
            stack.enter_context(edited(self.model, arms, rows, prompt=prompt, sites=self.sites, made=made))
            if self.lower is not None:
                stack.enter_context(self.lower.once(self.model, job.chunk.first, copies))
            return self._forward(documents, [self.masks[text] for text in job.texts], copies)

    def _forward(self, documents: Sequence[Document], masks: Masks, copies: int) -> Tensor:
        ids = pad(documents, pad_id=0).input_ids.repeat_interleave(copies, dim=0).to(self.device)
        predicting = predicting_rows(side_by_side(masks).repeat_interleave(copies, dim=0))
        at = predicting.to(self.device)
        with only_rows(self.model, at), self.context():
            # Padding comes last, where no token that counts can see it. A mask of ones says so, and attention is then
            # the causal kernel without a mask; none at all would be complained about.
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        losses = token_losses(logits, ids, at).cpu().double()
        # By place and then along the rows, not by adding where rows meet: the order of a sum changes its last digit.
        return torch.zeros(ids.numel(), dtype=torch.float64).index_copy(0, predicting, losses).view(ids.shape).sum(1)


def _counts(masks: Masks) -> Tensor:
    return torch.tensor([int(mask[1:].sum()) for mask in masks], dtype=torch.int64)


def _prompt(document: Document) -> int:
    """Tokens before the answer; all where there is none."""
    return int(document.answer.argmax()) if document.answer.any() else len(document)
