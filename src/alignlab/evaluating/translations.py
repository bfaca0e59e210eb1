"""The task of translation: what a model makes of sentences, and how near that is to their translations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab.analysis.capability import IN_LANGUAGE
from alignlab.analysis.translation import BLEU, CHRF, METRICS, NAMES, translation_rows
from alignlab.data.encoding import Document, encode, fingerprint
from alignlab.data.prompts import Prompts
from alignlab.data.sources.translation import request
from alignlab.evaluating.options import Translation
from alignlab.evaluating.parallel import cluster_name, parallel_records
from alignlab.evaluating.task import BuiltTask, Measured, Measuring
from alignlab.evaluation.output_language import cannot_be_told, language_of
from alignlab.evaluation.translation import sentence_counts, signature, translated
from alignlab.languages import get
from alignlab.manifest import checksum_of
from alignlab.neurons.table import Row
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.effects import ABSTAINED, NO_INTERVENTION, ArmLabel, Effects, Item, joined
from alignlab.recording.generation import Response, check_positions, generator_of
from alignlab.recording.likelihoods import labelled
from alignlab.recording.probes import without_last
from alignlab.recording.responses_file import responses_text, text_of
from alignlab.recording.sampling import Sampling
from alignlab.reporting.wording import number


class TranslationTask(BuiltTask):
    """Sentences that a model translates, all from one language or all into it."""

    lead = CHRF
    reads_as = (
        "Scores are chrF++: the n-grams of characters and words that a translation (an answer's first line) shares "
        "with the reference translation, 0 to 100. A group is the mean of its languages: scores of different languages "
        "are on different scales."
    )

    def __init__(self, name: str, options: Translation, tokenizer: Any, reference: str) -> None:
        super().__init__(name)
        self.key = f"tasks.{name}"
        self.options, self.tokenizer, self.reference = options, tokenizer, reference
        records = parallel_records(options.source, reference, options.max_texts, options.seed, f"{self.key}.source")
        self.clusters = cluster_name(options.source, records)
        self.codes = [code for code in records if code != reference]
        self.into = None if options.direction == "from_reference" else reference
        self.targets = {code: self.into or code for code in self.codes}
        self.signatures = {
            (code, metric): signature(metric, self.targets[code], self._tokenizer(metric))
            for code in self.codes
            for metric in METRICS.values()
        }
        requests, self.translations = [], list[str]()
        for code in self.codes:
            for own, other in zip(records[code], records[reference], strict=True):
                text, expected = (other, own) if self.into is None else (own, other)
                asked = request(options.template, text.language, expected.language, text.prompt)
                # Its language is the one that is not the reference, whichever way it is translated.
                requests.append(replace(own, prompt=asked))
                self.translations.append(expected.prompt)
        encoded = encode(
            requests,
            tokenizer,
            options.prompts or Prompts(template="{prompt}"),
            max_length=2**31,  # a request is never cut
            append_eos=False,
            needs_answer=False,
        )
        self.prompts = [without_last(document, tokenizer.eos_token_id) for document in encoded.documents]
        names = [f"{prompt.language}\0{prompt.id}" for prompt in self.prompts]
        drawn = Sampling(options.seed, names, options.temperature, options.top_p)
        self.sampling = drawn if options.temperature > 0 else None

    @property
    def texts(self) -> Sequence[Document]:
        return self.prompts

    @property
    def fingerprint(self) -> str:
        clusters = [prompt.cluster for prompt in self.prompts]
        about: list[object] = [fingerprint(self.prompts), self.translations, clusters, self.clusters]
        # The reference is one of the languages that answers are told apart among.
        about += [self.options.max_new_tokens, self.into, self.reference, sorted(self.signatures.items())]
        if self.sampling is not None:
            about += [self.sampling.seed, self.sampling.temperature, self.sampling.top_p]
        return hashlib.sha256(repr(about).encode()).hexdigest()[:16]

    @property
    def new_tokens(self) -> int:
        return self.options.max_new_tokens

    def check(self, outline: nn.Module) -> None:
        generator_of(outline, self.key, f"Leave out {self.key}.")
        where = f"{self.key}.max_new_tokens"
        fix = f"Set a smaller {where}, or take shorter sentences."
        check_positions(outline, max(map(len, self.prompts)), self.options.max_new_tokens, where, fix)

    def measure(self, on: Measuring) -> Measured:
        eos = self.tokenizer.eos_token_id
        responses = generate_under(
            on.model,
            [prompt.tokens for prompt in self.prompts],
            on.arms,
            max_new_tokens=self.options.max_new_tokens,
            max_tokens_per_batch=on.max_tokens_per_batch,
            eos_ids=() if eos is None else (eos,),
            sampling=self.sampling,
            sites=on.sites,
            context=on.context,
            advance=on.advance,
            kept=on.kept,
        )
        by_arm = [
            self._measured(list(of_arm), on, label)
            for of_arm, label in zip(zip(*responses, strict=True), labelled(on.labels, on.arms), strict=True)
        ]
        text = "".join(one.answers for one in by_arm)
        effects = joined([one.effects for one in by_arm])
        return Measured(replace(effects, answers_checksum=checksum_of(text.encode())), text)

    def rows(self, effects: Effects, first: Effects | None, label: str, since: str) -> list[Row]:
        return translation_rows(effects, first, into=self.into, signatures=self.signatures, label=label, since=since)

    def sentence(self, rows: Sequence[Row]) -> str:
        whole = [row for row in rows if row.group == "all languages" and not row.is_change]
        bleu, within = (next(row.value for row in whole if row.measure == name) for name in (BLEU, IN_LANGUAGE))
        where = f"into {get(self.into).name}" if self.into else f"from {get(self.reference).name}"
        return (
            f"Translated {where}; BLEU {number(bleu, 1)} and {number(within, 3)} of the answers in the language asked "
            f"for, over all languages. By sacrebleu: {self._signed()}."
        )

    def _signed(self) -> str:
        """The signatures, each with the languages that it is of where they differ."""
        by_signature: dict[tuple[str, str], list[str]] = {}
        for measure, metric in METRICS.items():
            for code in self.codes:
                by_signature.setdefault((measure, self.signatures[code, metric]), []).append(code)
        return "; ".join(
            f"{measure} {signed}" + (f" ({', '.join(codes)})" if len(codes) < len(self.codes) else "")
            for (measure, signed), codes in by_signature.items()
        )

    def _tokenizer(self, metric: str) -> str | None:
        return self.options.tokenizer if metric == "bleu" else None

    def _measured(self, responses: Sequence[Response], on: Measuring, arm: ArmLabel) -> Measured:
        """What is found in the responses under an arm, in the order of the prompts."""
        texts = [text_of(self.tokenizer, response.tokens) for response in responses]
        found = [translated(text) for text in texts]
        at_hand = tuple(dict.fromkeys([*self.codes, self.reference]))
        known = [code for code in at_hand if code not in cannot_be_told(at_hand)]
        told = language_of(found, known) if known else [None] * len(found)
        lines: list[dict[str, Any]] = [
            {"translation": one, "expected": expected, "output_language": language}
            for one, expected, language in zip(found, self.translations, told, strict=True)
        ]
        if arm.name != NO_INTERVENTION:
            lines = [{"arm": arm.digest, **line} for line in lines]
        places = [ABSTAINED if code is None else at_hand.index(code) for code in told]
        effects = Effects(
            items=tuple(Item(prompt.id, prompt.language, prompt.cluster) for prompt in self.prompts),
            labels=(arm,),
            languages=at_hand,
            output_language=torch.tensor(places, dtype=torch.int16).unsqueeze(1),
            tokens=torch.tensor([len(response.tokens) for response in responses], dtype=torch.int32).unsqueeze(1),
            ended=torch.tensor([response.ended for response in responses], dtype=torch.bool).unsqueeze(1),
            values=torch.from_numpy(self._counts(found)).unsqueeze(1),
            measures=NAMES,
            task=self.name,
            model=on.origin.model,
            revision=on.origin.revision,
            step=on.origin.step,
            trained_languages=on.origin.trained_languages,
            reference=on.origin.reference,
            data_fingerprint=self.fingerprint,
            clusters=self.clusters,
        )
        return Measured(effects, responses_text(self.prompts, responses, self.tokenizer, lines))

    def _counts(self, translations: Sequence[str]) -> np.ndarray:
        """What sacrebleu counts in each translation, by `NAMES`: (I, M) float64."""
        n = len(self.prompts) // len(self.codes)
        by_language = []
        for place, code in enumerate(self.codes):
            of = slice(place * n, (place + 1) * n)
            counts = [
                sentence_counts(
                    metric,
                    translations[of],
                    self.translations[of],
                    language=self.targets[code],
                    tokenizer=self._tokenizer(metric),
                ).counts
                for metric in METRICS.values()
            ]
            by_language.append(np.concatenate(counts, axis=1))
        return np.concatenate(by_language).astype(np.float64)
