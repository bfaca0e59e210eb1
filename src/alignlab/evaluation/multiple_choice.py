"""Multiple choice by likelihood: of the options' texts the likeliest is what the model chooses.

Texts are read as lm-evaluation-harness reads them (Gao et al. 2024): context and continuation tokenised together, white
space at the end of a context as the beginning of the continuation, the first of equally likely options. Its `acc` is by
the sum, `acc_norm` by characters, `acc_bytes` by bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from alignlab.data.choices import Choice
from alignlab.data.encoding import Document, encode
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any, some_of
from alignlab.evaluation.accuracy import Accuracy, accuracy
from alignlab.recording.likelihoods import by_item
from alignlab.recording.probes import without_last

Normalisation = Literal["sum", "token", "character", "byte"]


@dataclass(frozen=True)
class ChoiceTexts:
    """The options of I questions as documents, whose answers are what is scored.

    documents: D, the options of the first question, then those of the second, and so on; with the id of the question.
    item, option: (D,) int64, which question and which of its options a document is.
    tokens, characters, bytes: (I, O) int64, lengths of what is scored (`tokens`) and of the options as they are
        written; 0 where a question has fewer than O options.
    gold: (I,) int64.
    """

    documents: list[Document]
    item: Tensor
    option: Tensor
    tokens: Tensor
    characters: Tensor
    bytes: Tensor
    gold: Tensor

    @property
    def by_item(self) -> list[tuple[Document, ...]]:
        """The options of each question."""
        counts = self.item.bincount().tolist()
        ends = accumulate(counts)
        return [tuple(self.documents[end - count : end]) for end, count in zip(ends, counts, strict=True)]

    def by_option(self, nats: Tensor) -> Tensor:
        """Nats of documents, (D, A), as `option_nats`, (I, A, O) float64; NaN where there is no such option."""
        return by_item(nats.to("cpu", torch.float64), self.item.bincount().tolist(), torch.nan).transpose(1, 2)

    def lengths(self, normalisation: Normalisation) -> Tensor | None:
        """By what nats are divided: (I, O), or None for their sum. Raises InputError for an unknown one."""
        names = get_args(Normalisation)
        if normalisation not in names:
            fix = did_you_mean(normalisation, names)
            raise InputError.of("normalisation", f"{normalisation!r}", f"one of: {', '.join(names)}", fix)
        return {"sum": None, "token": self.tokens, "character": self.characters, "byte": self.bytes}[normalisation]


@dataclass(frozen=True)
class Chosen:
    """What was chosen, item by item and arm by arm.

    option: (I, A) int64; of equally likely options the first.
    tied: (I, A) bool, another one is as likely.
    """

    option: Tensor
    tied: Tensor

    def right(self, gold: Tensor) -> Tensor:
        """(I, A) bool. gold: (I,) int64."""
        return self.option == gold.unsqueeze(1)


def encode_choices(
    choices: Sequence[Choice], tokenizer: PreTrainedTokenizerBase, prompts: Prompts | None = None
) -> ChoiceTexts:
    """Tokenise all options of questions.

    prompts: how contexts become text, such as a chat template; by default they stay as they are. A token that begins
        in the context and ends in the continuation belongs to the context.
    Raises `InputError` for options of which no token is scored, or of whose scored tokens none has a predecessor.
    """
    refuse_any([] if choices else [Problem("questions", "none", "one or more")])
    records, item, option = [], [], []
    for number, choice in enumerate(choices):
        for place, (given, scored) in enumerate(zip(choice.contexts, choice.continuations, strict=True)):
            context = given.rstrip()
            answer = given[len(context) :] + scored
            records.append(Record(choice.id, choice.language, context, answer, choice.cluster))
            item.append(number)
            option.append(place)
    template = prompts or Prompts(template="{prompt}")
    encoded = encode(records, tokenizer, template, max_length=2**31, append_eos=False, needs_answer=False)
    documents = [without_last(document, tokenizer.eos_token_id) for document in encoded.documents]
    # The first token of a text has no likelihood.
    counts = [int(document.answer[1:].sum()) for document in documents]
    lost = [
        f"number {place} of {document.id!r} ({document.language})"
        for document, place, count in zip(documents, option, counts, strict=True)
        if count < max(1, int(document.answer.sum()))
    ]
    if lost:
        found = f"{len(lost):,} options of which tokens have no likelihood: {some_of(lost)}"
        fix = "Give a text before the options, or take a tokenizer that puts a BOS in front."
        raise InputError.of("questions", found, "options behind one token or more", fix)
    options = [len(choice.options) for choice in choices]

    def laid_out(values: Sequence[int]) -> Tensor:
        return by_item(torch.tensor(values), options, 0)

    texts = [text for choice in choices for text in choice.options]
    return ChoiceTexts(
        documents,
        torch.tensor(item),
        torch.tensor(option),
        laid_out(counts),
        laid_out([len(text) for text in texts]),
        laid_out([len(text.encode()) for text in texts]),
        torch.tensor([choice.gold for choice in choices]),
    )


def choose(option_nats: Tensor, lengths: Tensor | None = None) -> Chosen:
    """The likeliest options.

    option_nats: (I, A, O) float64, negative log-likelihoods in nats; NaN where a question has no such option.
    lengths: (I, O), by which they are divided; None for none.

    Raises InputError for shapes that differ, a question without an option, or nats that are infinite.
    """
    items, _, options = option_nats.shape
    if lengths is not None and tuple(lengths.shape) != (items, options):
        raise InputError.of("lengths", f"the shape {tuple(lengths.shape)}", f"{(items, options)}, items and options")
    missing = option_nats.isnan()
    problems = []
    if missing.all(dim=-1).any():
        problems.append(Problem("option_nats", "a question without any option", "one or more that are no NaN"))
    if option_nats.isinf().any():
        problems.append(Problem("option_nats", "infinite nats", "finite ones", "Has the model diverged?"))
    if lengths is not None and not (lengths.unsqueeze(1).expand_as(missing)[~missing] > 0).all():
        problems.append(Problem("lengths", "0 of an option that is there", "1 or more"))
    refuse_any(problems)
    nats = option_nats if lengths is None else option_nats / lengths.unsqueeze(1)
    nats = nats.masked_fill(missing, torch.inf)
    least = nats.amin(dim=-1, keepdim=True)
    return Chosen(nats.argmin(dim=-1), (nats == least).sum(dim=-1) > 1)


def chance(options: Tensor) -> float:
    """The share that is right where every option is as likely to be chosen: the mean of 1 / O.

    options: (I, O), any lengths of `ChoiceTexts`, 0 where there is no option.
    """
    return float((1 / (options > 0).sum(dim=1).double()).mean())


def right_share(right: Tensor, clusters: Sequence[str]) -> list[Accuracy]:
    """The share of questions that are right under each arm, with intervals over clusters. right: (I, A) bool."""
    return [accuracy(np.asarray(column), clusters) for column in right.T]
