"""The task of MEXA: how many sentences lie nearest to their own translation into the reference, state by state."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab.analysis.arm_outcomes import Outcome
from alignlab.analysis.mexa import BY_STATE, HIGHEST, MEAN, mexa_rows
from alignlab.data.encoding import Document, encode, fingerprint
from alignlab.data.prompts import Prompts
from alignlab.evaluating.options import Mexa
from alignlab.evaluating.parallel import cluster_name, parallel_records
from alignlab.evaluating.task import BuiltTask, Measured, Measuring
from alignlab.evaluation.mexa import mexa, state_sites
from alignlab.models.edits import Arm, edited
from alignlab.neurons.table import Row
from alignlab.recording.arms import digest_of
from alignlab.recording.effects import Effects, Item
from alignlab.recording.generation import check_positions
from alignlab.recording.kept import kept_or_made
from alignlab.recording.likelihoods import labelled
from alignlab.recording.probes import Probe
from alignlab.reporting.wording import number


class MexaTask(BuiltTask):
    """Parallel sentences that are embedded at every state of the model."""

    lead = MEAN
    reads_as = (
        "MEXA: the share of sentences that lie nearer to their own translation into the reference than to any other, "
        "and it to them, by the cosine of their embeddings; the mean over the states of the model. Chance is "
        "1 / (2n - 1) of n sentences. A group is all sentences of its languages."
    )

    tells_prompts = False

    def __init__(self, name: str, options: Mexa, tokenizer: Any, reference: str) -> None:
        super().__init__(name)
        self.key = f"tasks.{name}.source"
        self.options, self.reference = options, reference
        records = parallel_records(options.source, reference, options.max_texts, options.seed, self.key)
        self.clusters = cluster_name(options.source, records)
        encoded = encode(
            [record for of in records.values() for record in of],
            tokenizer,
            Prompts(template="{prompt}"),  # the sentence, and nothing beside it
            max_length=2**31,
            append_eos=False,
            needs_answer=False,
        )
        self.documents: dict[str, list[Document]] = {}
        for document in encoded.documents:
            self.documents.setdefault(document.language, []).append(document)

    @property
    def texts(self) -> Sequence[Document]:
        return [document for of in self.documents.values() for document in of]

    @property
    def items(self) -> Counter[str]:
        return Counter({code: len(of) for code, of in self.documents.items() if code != self.reference})

    @property
    def fingerprint(self) -> str:
        clusters = [document.cluster for document in self.texts]
        about = [fingerprint(self.texts), clusters, self.clusters, self.options.pooling, self.reference]
        return hashlib.sha256(repr(about).encode()).hexdigest()[:16]

    def check(self, outline: nn.Module) -> None:
        state_sites(outline)
        check_positions(outline, max(map(len, self.texts)), 0, self.key, "Take shorter sentences.")

    def measure(self, on: Measuring) -> Measured:
        items = [Item(one.id, one.language, one.cluster) for one in self.texts if one.language != self.reference]
        by_arm = []
        for arm in on.arms:
            what = [self.fingerprint, digest_of(arm)]
            rows = kept_or_made(on.kept, what, len(items), lambda arm=arm: self._aligned(on, arm))  # type: ignore[misc]
            by_arm.append([[float(hit) for hit in row["aligned"]] for row in rows])
        # (A, I, S) as it was made.
        values = torch.tensor(by_arm, dtype=torch.float64).transpose(0, 1).contiguous()
        effects = Effects(
            items=tuple(items),
            labels=labelled(on.labels, on.arms),
            values=values,
            measures=tuple(f"state {number}" for number in range(values.shape[2])),
            task=self.name,
            model=on.origin.model,
            revision=on.origin.revision,
            step=on.origin.step,
            trained_languages=on.origin.trained_languages,
            reference=on.origin.reference,
            data_fingerprint=self.fingerprint,
            clusters=self.clusters,
        )
        return Measured(effects)

    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        sentences = len(self.documents[self.reference])
        return mexa_rows(effects, first, label=label, since=since, sentences=sentences)

    def outcomes(self, effects: Effects) -> list[Outcome]:
        return [Outcome(MEAN, "share", effects.measured("values").mean(dim=2).numpy(), np.ones(len(effects.items)))]

    def sentence(self, rows: Sequence[Row]) -> str:
        whole = [row for row in rows if row.group == "all languages" and not row.is_change]
        states = [row for row in whole if row.measure == BY_STATE]
        best = max(states, key=lambda row: row.value)
        (highest,) = (row for row in whole if row.measure == HIGHEST)
        return (
            f"Of the {len(states)} states (0 is what the first layer reads), all languages together have the most at "
            f"state {best.layer}, {number(best.value, 3)}; each at its own, {number(highest.value, 3)}."
        )

    def _progress(self, tokens: int, on: Measuring) -> Callable[[int], None]:
        """Told of tokens that are done, it tells how many texts these are about."""
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            before, done = done, done + more
            on.advance(done * len(self.texts) // tokens - before * len(self.texts) // tokens)

        return advance

    def _aligned(self, on: Measuring, arm: Arm) -> list[dict[str, Any]]:
        """Of each item the states at which it is aligned, as a text of 0 and 1."""
        probe = Probe(self.documents, "all", 1, on.max_tokens_per_batch, count_special_tokens=True)
        with edited(on.model, [arm], sites=on.sites):
            found = mexa(
                on.model,
                probe,
                pivot=self.reference,
                pooling=self.options.pooling,
                context=on.context,
                progress=lambda tokens: nullcontext(self._progress(tokens, on)),
            )
        return [
            {"aligned": "".join("1" if hit else "0" for hit in of)}
            for code in self.documents
            if code != self.reference
            for of in found.aligned[code].T.tolist()
        ]
