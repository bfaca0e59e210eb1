"""MAPO's rule: rewards by a translation model, scored language by language on all ranks, kept, and ranked by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch
from torch import nn

from alignlab import console, languages
from alignlab.environment import environment
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.distributed import from_first, is_first, over_ranks, rank, wait_for_all, world_size
from alignlab.models.precision import precision_of
from alignlab.preparation import reward_statistics
from alignlab.preparation.answers import Question
from alignlab.preparation.options import PreferencesOptions, TranslationReward
from alignlab.preparation.pairs import Sides, translation_reward
from alignlab.preparation.responses_folder import ResponsesFolder
from alignlab.preparation.reward_plan import RewardPlan, of_the_rule
from alignlab.preparation.reward_texts import Scored, Work, fingerprint
from alignlab.preparation.rewards_folder import ANSWERS, MODEL, QuestionRewards, RewardsFolder
from alignlab.preparation.rules import Rule
from alignlab.recording.translation_losses import translation_losses
from alignlab.redaction import hide_all
from alignlab.runs import check_writable


class TranslationRule(Rule):
    """A right answer over one of a lower reward."""

    def __init__(self, options: PreferencesOptions, source: ResponsesFolder, have: Sequence[str]) -> None:
        super().__init__(options, source, have)
        rule = options.rule
        assert isinstance(rule, TranslationReward)
        self.rule, self._have = rule, list(have)
        if options.languages is None:
            self.languages = [code for code in self.languages if code != rule.pivot]
        self._plan = RewardPlan(rule, source, self.languages)
        self._rewards: Mapping[str, QuestionRewards] = {}

    def check(self) -> None:
        """Raises InputError, before any weight is loaded."""
        pivot = languages.get(self.rule.pivot)
        if pivot.code not in self._have:
            found = f"the responses have none in {pivot.code}"
            fix = "Let the model answer the questions in that language too, or name another as rule.pivot."
            raise InputError.of("rule.pivot", found, f"some of: {', '.join(self._have)}", fix)
        if pivot.code in self.languages:
            found = f"{pivot.code}, by whose answers the others are ranked"
            raise InputError.of("languages", found, "other languages", "Leave it out, or set another rule.pivot.")
        if not self.languages:
            raise InputError.of("responses", f"all answers are in {pivot.code}", "answers in other languages too")
        plan = self._plan
        plan.starts = from_first(self._starts)
        plan.check_finished()
        plan.check()
        plan.costs  # noqa: B018 - which tokenises all there is, and refuses what cannot be read

    def _starts(self) -> dict[str, Any]:
        plan = self._plan
        check_writable(plan.root, "rule.folder")
        found: dict[str, Any] = {}
        problems: list[Problem] = []
        for code in plan.languages:
            folder = plan.folder(code)
            try:
                check_writable(folder.path, "rule.folder")
                found[code] = folder.start(plan.document(code))
            except InputError as error:
                problems += error.problems
        refuse_any(problems)
        return found

    def plan(self) -> list[tuple[str, str]]:
        plan, rule = self._plan, self.rule
        name = languages.get(rule.pivot).name
        given = f"{name} answers given an answer" if rule.scored == "pivot" else f"an answer given {name} ones"
        rows = [("rewards", f"1 / mean NLL of {given}, averaged over the {name} ones")]
        if plan.missing:
            rows.append(("translation", f"{rule.model.source}; {rule.precision} on {plan.device}"))
            spelled = plan.names.spelled
            told = ", ".join(f"{code} {name}" for code, name in spelled.items())
            rows.append(("languages", told or f"no names: a model of one direction, for {plan.languages[0]}"))
            rows.append(("to score", self._cost()))
            if cut := sum(cost.cut for cost in plan.costs.values()):
                rows.append(("cut", f"{cut:,} texts, to {rule.max_tokens} tokens"))
        if there := [code for code in plan.languages if code not in plan.missing]:
            rows.append(("there", f"the rewards of {' '.join(there)}: nothing is scored again"))
        rows.append(("rewards in", str(plan.root)))
        return rows

    def _cost(self) -> str:
        costs = self._plan.costs
        pairs = ", ".join(f"{cost.pairs:,} in {code}" for code, cost in costs.items())
        total, read, scored = (sum(getattr(cost, of) for cost in costs.values()) for of in ("pairs", "read", "scored"))
        flops = [cost.flops for cost in costs.values()]
        told = "" if None in flops else f"; about {sum(flops):.2g} FLOP"  # type: ignore[arg-type]
        pieces, done = sum(cost.pieces for cost in costs.values()), sum(cost.done for cost in costs.values())
        going_on = f"; {done:,} of {pieces:,} pieces are done" if done else ""
        ranks = f"; {world_size()} ranks" if world_size() > 1 else ""
        return f"{total:,} pairs ({pairs}); {read:,} tokens read, {scored:,} scored{told}{going_on}{ranks}"

    def prepare(self) -> None:
        plan = self._plan
        if not plan.missing:
            return
        with of_the_rule():
            plan.config.check()
        total = sum(cost.pairs for cost in plan.costs.values())
        scorer = _Scorer(plan)
        with ExitStack() as held:
            from_first(lambda: _lock(plan, held))
            with console.progress("Scoring pairs", total) as advance:
                for code, texts in plan.texts(plan.missing):
                    scorer.score(code, texts, advance)

    def begin(self, language: str) -> None:
        self._rewards = self._plan.folder(language).read()

    def sides(self, question: Question, *, clean: bool) -> Sides | str:
        rewards = self._rewards[question.id]
        return translation_reward(question, clean=clean, rewards=rewards.rewards)

    def measured(self, questions: Sequence[Question]) -> dict[str, float | int | None]:
        return reward_statistics.measured(questions, self._rewards)

    def show(self, measured: Sequence[tuple[str, dict[str, float | int | None]]]) -> None:
        reward_statistics.show(measured, languages.get(self.rule.pivot).name)


def _lock(plan: RewardPlan, held: ExitStack) -> None:
    for code in plan.missing:
        folder = plan.folder(code)
        folder.check_ours()
        held.enter_context(folder.locked())
        # Another process may have begun or ended it since the plan was made.
        if folder.start(plan.document(code)) != plan.starts[code]:
            found = "another process has worked on it meanwhile"
            raise InputError.of(
                f"rule.folder ({folder.path})", found, "one process a folder", "Give the command again."
            )


class _Scorer:
    """Scores the pairs of languages one after another; the model is loaded when the first is missing."""

    def __init__(self, plan: RewardPlan) -> None:
        self.plan = plan
        self.precision = precision_of(plan.rule.precision, plan.device)
        self._model: nn.Module | None = None
        self._fingerprint = ""

    @property
    def model(self) -> nn.Module:
        if self._model is None:
            with of_the_rule():
                model = self.plan.config.build()
            self._model = self.precision.convert_module(model).to(self.plan.device).eval()
        return self._model

    def score(self, language: str, texts: Sequence[Scored], advance: Callable[..., None]) -> None:
        """Score what is missing of a language, keep it, and finish its folder."""
        plan = self.plan
        folder, start = plan.folder(language), plan.starts[language]
        work = plan.work(language, texts)
        made_from = from_first(lambda: self._made_from(texts, work))
        done = from_first(lambda: _done(folder, work, made_from)) if start == "continue" else []
        missing = [number for number in range(len(work.pieces)) if number not in set(done)]
        advance(sum(len(work.pieces[number]) for number in done), note=language, kept=True)
        if missing:
            model = self.model
            if start == "new":
                # Not before the model is there: a refusal until here leaves the folder as it was.
                from_first(lambda: folder.begin(plan.document(language), made_from))
            self._score(model, folder, work, missing, advance, language)
        wait_for_all()
        from_first(lambda: _finish(folder, work))

    def _made_from(self, texts: Sequence[Scored], work: Work) -> dict[str, Any]:
        if not self._fingerprint:
            with of_the_rule():
                self._fingerprint = self.plan.config.fingerprint()
            refuse_any(list(self._of_other_weights()))
        fingerprints = {
            ANSWERS: fingerprint(texts),
            "tokens_fingerprint": work.fingerprint,
            MODEL: self._fingerprint,
        }
        hidden: dict[str, Any] = hide_all({**environment(), **fingerprints})
        return hidden

    def _of_other_weights(self) -> Iterator[Problem]:
        """Languages that are there by another model, whose rewards would stand beside those of this one."""
        for code in self.plan.languages:
            if code not in self.plan.missing:
                try:
                    self.plan.folder(code).check_model(self._fingerprint)
                except InputError as error:
                    yield from error.problems

    def _score(
        self,
        model: nn.Module,
        folder: RewardsFolder,
        work: Work,
        missing: Sequence[int],
        advance: Callable[..., None],
        language: str,
    ) -> None:
        """Of these pieces one a rank at a time; rank zero writes."""
        context: Callable[[], AbstractContextManager[object]] = self.precision.forward_context
        ranks = world_size()
        for first in range(0, len(missing), ranks):
            together = missing[first : first + ranks]
            found = torch.zeros((len(together), max(len(work.pieces[number]) for number in together)),
                                dtype=torch.float64)  # fmt: skip
            if rank() < len(together):
                numbers = work.pieces[together[rank()]]
                found[rank(), : len(numbers)] = translation_losses(
                    model,
                    work.encoded,
                    work.decoded,
                    [work.pairs[number] for number in numbers],
                    max_tokens_per_batch=self.plan.rule.max_tokens_per_batch,
                    context=context,
                )
            found = over_ranks(found.to(self.plan.device)).cpu() if ranks > 1 else found
            for row, number in zip(found, together, strict=True):
                losses = row[: len(work.pieces[number])]
                _check(losses, self.plan.rule)
                if is_first():
                    folder.write_part(number, work.pieces[number], losses.tolist())
                advance(len(losses), note=language)


def _check(losses: torch.Tensor, rule: TranslationReward) -> None:
    if not bool((torch.isfinite(losses) & (losses > 0)).all()):
        found = f"{rule.model.source} gives a likelihood that is no number, or 1"
        fix = "Set rule.precision=32-true, or name another model."
        raise InputError.of("rule.model.source", found, "losses over 0", fix)


def _done(folder: RewardsFolder, work: Work, made_from: Mapping[str, Any]) -> list[int]:
    """The pieces that need not be scored again. Raises `InputError` where other answers or another model began."""
    for line in folder.check_continued(made_from):
        console.say(f"note: {line}")
    done, damaged = folder.done(work.pieces)
    for number in damaged:
        console.say(f"note: {folder.parts.part(number)} is damaged; its pairs are scored again")
    return done


def _finish(folder: RewardsFolder, work: Work) -> None:
    losses = np.zeros(len(work.pairs))
    for number, pairs in enumerate(work.pieces):
        losses[pairs] = folder.read_part(number, pairs)
    folder.finish(work.with_losses(losses.tolist()))
