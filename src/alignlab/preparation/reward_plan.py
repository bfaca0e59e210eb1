"""What a translation model will be asked, known before any weight is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import torch
from torch import nn

from alignlab import languages
from alignlab.begun_folder import Start
from alignlab.config import to_yaml
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.distributed import local_rank
from alignlab.models.load import embedding_rows
from alignlab.models.translators import TranslatorConfig, positions_of, translation_flops
from alignlab.preparation.options import TranslationReward
from alignlab.preparation.responses_folder import ResponsesFolder
from alignlab.preparation.reward_texts import Scored, Work, fingerprint, pivots_of, scored_of, work_of
from alignlab.preparation.rewards_folder import RewardsFolder
from alignlab.preparation.translator_names import Names, names_of
from alignlab.redaction import hide_all

_OF_THE_RULE = "model.source"


@dataclass(frozen=True)
class Cost:
    """Of a language: pairs to score, tokens that are read and tokens that are scored, FLOPs (None: unknown), cut texts,
    the pieces of the work and those that are done.
    """

    pairs: int
    read: int
    scored: int
    flops: int | None
    cut: int
    pieces: int
    done: int


@dataclass
class RewardPlan:
    """Languages, their folders and texts, and the model's outline, each made once, when it is first asked for.

    languages: whose answers are scored.
    """

    rule: TranslationReward
    source: ResponsesFolder
    languages: Sequence[str]
    starts: dict[str, Start] = field(default_factory=dict)

    @cached_property
    def root(self) -> Path:
        return self.source.path / "rewards" if self.rule.folder is None else Path(self.rule.folder).expanduser()

    def folder(self, language: str) -> RewardsFolder:
        """A language's own: it is scored without the others, and they without it."""
        return RewardsFolder(self.root / language)

    def document(self, language: str) -> str:
        """The config of a language's rewards as YAML, without secrets."""
        return f"{to_yaml(self.rule, hide_all)}language: {language}\n"

    @property
    def missing(self) -> list[str]:
        """Languages of which not all rewards are there."""
        return [code for code in self.languages if self.starts[code] != "finished"]

    @cached_property
    def config(self) -> TranslatorConfig:
        return TranslatorConfig.of(self.rule.model)

    @cached_property
    def device(self) -> torch.device:
        return torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")

    @cached_property
    def outline(self) -> nn.Module:
        with of_the_rule():
            return self.config.build_meta()

    @cached_property
    def names(self) -> Names:
        with of_the_rule():
            tokenizer = self.config.build_tokenizer()
            return names_of(tokenizer, [self.rule.pivot, *self.languages], self.rule.codes, "rule.codes")

    @cached_property
    def pivots(self) -> Mapping[str, Sequence[str]]:
        """The pivot's answers, cleaned, by the id of their question."""
        return pivots_of(question for question in self.source.read() if question.language == self.rule.pivot)

    def texts(self, wanted: Sequence[str]) -> Iterator[tuple[str, list[Scored]]]:
        """What is scored of each of these languages, one held at a time."""
        for code, group in groupby(self.source.read(), key=lambda question: question.language):
            if code in wanted:
                yield code, [scored_of(question, self.pivots) for question in group]

    def work(self, language: str, texts: Sequence[Scored]) -> Work:
        """The same as tokens. Raises InputError where there is nothing, or what the model cannot read."""
        work = work_of(texts, language, self.names, self.rule)
        if not work.pairs:
            name, pivot = languages.get(language).name, languages.get(self.rule.pivot).name
            found = f"no question has both {name} and {pivot} answers of which text is left"
            fix = "Questions that say the same have the same id in all languages."
            raise InputError.of("rule.pivot", found, "answers to the same questions in both", fix)
        if any(not len(text) for text in (*work.answers, *work.pivots)):
            found = f"the tokenizer of {self.config.source} makes no token of a text in {language}"
            raise InputError.of("rule.model.source", found, "one or more")
        for code, tokens in ((language, work.answers), (self.rule.pivot, work.pivots)):
            if not self.names.knows(tokens):
                found = (
                    f"the tokenizer of {self.config.source} knows nothing of the texts in {code}: all is unknown to it"
                )
                fix = "Is its tokenizer.json or vocabulary there? Else leave the language out, or name another model."
                raise InputError.of("rule.model.source", found, "a model that has the language", fix)
        rows = embedding_rows(self.outline)
        if work.highest >= rows:
            found = f"the tokenizer gives token id {work.highest}, the model has {rows} embeddings"
            fix = "Model and tokenizer do not belong together."
            raise InputError.of("rule.model.source", found, f"ids below {rows}", fix)
        return work

    def check(self) -> None:
        """Refuse what cannot be scored. Raises InputError. Nothing of the model is read where all is there."""
        if not self.missing:
            return
        outline = self.outline
        if not self.names.spelled and len(self.languages) > 1:
            found = f"{len(self.languages)} languages ({', '.join(self.languages)}), and the model has no names for any"
            fix = "Score one at a time: set languages=[CODE], and the model that translates it."
            raise InputError.of("languages", found, "one, for a model of one direction", fix)
        positions = positions_of(outline)
        if positions is not None and self.rule.max_tokens > positions:
            fix = f"Set rule.max_tokens={positions}."
            found = f"{self.rule.max_tokens}, for a model of {positions} positions"
            raise InputError.of("rule.max_tokens", found, f"at most {positions}", fix)

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """What is left to do in each language that is not finished."""
        found: dict[str, Cost] = {}
        for code, texts in self.texts(self.missing):
            work = self.work(code, texts)
            read, scored = work.tokens
            done = len(list(self.folder(code).parts.written())) if self.starts[code] == "continue" else 0
            flops = self._flops(work)
            found[code] = Cost(len(work.pairs), read, scored, flops, work.cut, len(work.pieces), done)
        return found

    def _flops(self, work: Work) -> int | None:
        """At texts of mean length; None for a model of which torch cannot count it."""
        read, scored = work.tokens
        texts = len({text for text, _ in work.pairs})
        try:
            with of_the_rule():
                encoding, decoding = translation_flops(
                    self.outline, max(1, round(read / texts)), max(1, round(scored / len(work.pairs)))
                )
        except RuntimeError:
            return None
        return encoding * texts + decoding * len(work.pairs)

    def check_finished(self) -> None:
        """Refuse rewards that are there, but of other answers. Raises InputError."""
        finished = [code for code in self.languages if code not in self.missing]
        problems: list[Problem] = []
        for code, texts in self.texts(finished):
            try:
                self.folder(code).check_answers(fingerprint(texts))
            except InputError as error:
                problems += error.problems
        refuse_any(problems)


@contextmanager
def of_the_rule() -> Iterator[None]:
    """Within it what is said of `model.source` is said of the rule's model."""
    try:
        yield
    except InputError as error:
        raise type(error)(
            *(
                replace(
                    one,
                    where=one.where.replace("model.", "rule.model.", 1),
                    fix=one.fix.replace("model.", "rule.model."),
                )
                if one.where.startswith("model.")
                else one
                for one in error.problems
            )
        ) from error
