"""What is prepared for training, as options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignlab.config import REQUIRED, Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source, WordProblems
from alignlab.languages import check_codes
from alignlab.models.options import ModelOptions, PrecisionName
from alignlab.options import check_folder


def check_some(codes: list[str]) -> str | None:
    """What language codes have to be, if these are not: one or more."""
    return check_codes(codes) if codes else "one language or more, or null"


class ResponsesOptions(Options):
    """A model's answers to questions: several to each, drawn."""

    dry_run: bool = option(False, "print the plan and stop")
    folder: str = option("prepared/responses", "where the answers are kept", check=check_folder)
    model: ModelOptions = section(ModelOptions, "which model answers; its source may be a PEFT adapter too")
    precision: PrecisionName = option("32-true", "of the answering")
    source: Source = section(WordProblems, "where questions and their right answers come from")
    prompts: Prompts = section(Prompts, "how a question becomes text")
    languages: list[str] | None = option(
        None, "languages of the source to ask in, by ISO 639 code; null takes all", check=check_some
    )
    samples: int = option(20, "answers to each question in each language", unit="answers", ge=1, le=10_000)
    temperature: float = option(0.8, "by which logits are divided; 0 takes the likeliest token", ge=0, le=100)
    top_p: float = option(1.0, "share of probability of the likeliest tokens, of which one is drawn", gt=0, le=1)
    max_new_tokens: int = option(512, "at which an answer is cut", unit="tokens", ge=1, le=1_000_000)
    max_prompt_tokens: int = option(512, "longer questions are left out", unit="tokens", ge=1, le=10_000_000)
    max_tokens_per_batch: int = option(
        16_384, "size of a batch, with padding and all tokens that may come", unit="tokens", ge=1
    )
    seed: int = option(0, "of the draws: with it, the question's id and language and the answer's number", ge=0)


class RightOverWrong(Options):
    """A right answer over a wrong one: less than 0.001 from the last number of the source's answer, or not."""

    name: Literal["right_over_wrong"] = "right_over_wrong"


class TranslatorOptions(ModelOptions):
    """Which translation model scores answers."""

    source: str = option(
        "facebook/nllb-200-distilled-600M", "folder or Hub id of an encoder-decoder that translates (NLLB, M2M100, ...)"
    )


class TranslationReward(Options):
    """A right answer over one of a lower reward, which is 1 / mean NLL under a translation model (MAPO)."""

    name: Literal["translation_reward"] = "translation_reward"
    model: TranslatorOptions = section(TranslatorOptions, "which translation model gives the rewards")
    precision: PrecisionName = option("32-true", "of the scoring")
    pivot: str = option(
        "en", "language whose answers to a question its other answers are compared with", check=check_codes
    )
    scored: Literal["pivot", "answer"] = option(
        "pivot",
        "whose likelihood it is: the pivot's answer given the answer (MAPO's code), or the answer given the pivot's "
        "(its paper)",
    )
    codes: dict[str, str] = option(
        {}, "how the model's tokenizer names languages, by ISO 639 code, where that cannot be found", check=check_codes
    )
    max_tokens: int = option(512, "of a text, at which it is cut, special tokens included", unit="tokens", ge=4)
    max_tokens_per_batch: int = option(
        8192, "size of a batch, with padding: of both texts of each of its pairs", unit="tokens", ge=1
    )
    folder: str | None = option(
        None, "where rewards are kept; null: rewards in the folder of the answers", check=check_folder
    )


PreferenceRule = Annotated[RightOverWrong | TranslationReward, Field(discriminator="name")]


class PreferencesOptions(Options):
    """Pairs of a chosen and a rejected answer, from a model's answers."""

    dry_run: bool = option(False, "print the plan and stop")
    responses: str = option(REQUIRED, "folder of the answers, as `alignlab.prepare responses` left it")
    folder: str | None = option(
        None, "where the pairs are written; null: preferences in the folder of the answers", check=check_folder
    )
    rule: PreferenceRule = section(RightOverWrong, "by which an answer is chosen over another")
    languages: list[str] | None = option(
        None, "languages to make pairs in, by ISO 639 code; null takes all of the answers", check=check_some
    )
    pairs_per_language: int = option(
        10_000, "at most so many, of as many questions as there are; those set apart included", unit="pairs", ge=1
    )
    pairs_per_question: int | None = option(None, "at most so many; null takes all that there are", unit="pairs", ge=1)
    cleaned: list[str] = option(
        ["en"],
        "languages in which answers lose <<...>> and all from #### on, and are left out where a line comes twice, as "
        "MAPO does with English ones",
        check=check_codes,
    )
    dev_every: int | None = option(
        10,
        "of so many questions the last is set apart, in all languages; null for none",
        unit="questions",
        ge=2,
    )
    seed: int = option(0, "which pairs are taken", ge=0)
