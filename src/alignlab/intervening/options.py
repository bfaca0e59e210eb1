"""What is done to which neurons of which model, beside which controls, and what is measured, as options."""

from __future__ import annotations

from typing import Any, Literal, get_args

from alignlab.config import Options, option, section
from alignlab.evaluation.options import ObjectOptions, TaskOptions
from alignlab.interventions.options import LARGEST
from alignlab.labels import LABELS_MEANING, Labelled, LabelsOptions
from alignlab.languages import check_codes
from alignlab.models.options import ModelOptions, PrecisionName, SiteName
from alignlab.neurons.options import Convention, IdentifierOptions, TernaryOptions
from alignlab.options import check_folder, check_name
from alignlab.recording.options import ProbeOptions

OperationName = Literal["zero", "constant", "scale", "add", "replace", "diff_mean"]
ControlName = Literal["random", "matched"]
ScopeName = Literal["all", "prompt", "generated"]
Measure = Literal["perplexity", "accuracy", "lss", "fallback"]
# The measures that ask problems: the texts of the answers lie beside their record.
WITH_TEXTS: tuple[Measure, ...] = ("accuracy", "fallback")
# The operations that have a strength; of `constant` it is the value.
WITH_STRENGTH: tuple[OperationName, ...] = ("constant", "scale", "add", "diff_mean")
# The operations that take mean activations of a language.
WITH_MEANS: tuple[OperationName, ...] = ("add", "replace", "diff_mean")
WITHOUT_MEANS = tuple(name for name in get_args(OperationName) if name not in WITH_MEANS)


def _once(values: list[Any]) -> str | None:
    """What a list has to be, if this is none."""
    return None if values and len(set(map(str, values))) == len(values) else "one or more, each once"


def _once_if_any(values: list[Any]) -> str | None:
    return _once(values) if values else None


def _strengths(values: list[float]) -> str | None:
    """Arms are named by six digits of their strength, and activations are changed in float32."""
    # 0 is added, since -0 is the same strength.
    written = {f"{value + 0:g}" for value in values}
    if values and len(written) == len(values) and max(map(abs, values)) <= LARGEST:
        return None
    return "one or more, each once in six digits, none beyond 3.4e38"


def _codes(codes: list[str]) -> str | None:
    return check_codes(codes) if codes else "one language or more, or null"


def _steps(steps: int | list[int] | str) -> str | None:
    if isinstance(steps, str):
        return None
    each = [steps] if isinstance(steps, int) else steps
    good = each and min(each) >= 0 and len(set(each)) == len(each)
    return None if good else "steps from 0, each once"


class FallbackOptions(Options):
    """Languages that are switched off one after another, cumulatively."""

    order: list[str] | None = option(
        None, "in which languages are switched off; null: always the one that most answers are in", check=_codes
    )
    prompts: list[str] | None = option(None, "languages of the problems that are asked; null takes all", check=_codes)


class InterveneOptions(Labelled):
    """Neurons switched off, amplified or steered with, and what that does to every language."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run, whose neurons are changed in its own checkpoints")
    step: int | list[int] | Literal["ends"] | None = option(
        None,
        "of the run, one or several with a snapshot and a checkpoint; 0 is the base; null takes the last; ends takes "
        "the base and the last",
        unit="optimiser steps",
        check=_steps,
    )
    model: ModelOptions | None = section(
        None, "which model, where there is no run; of a run how it is loaded, and the base of its adapters"
    )
    precision: PrecisionName | None = option(None, "of the passes; null: as the run was trained, else 32-true")
    labels: LabelsOptions = section(LabelsOptions, f"{LABELS_MEANING}; by default as in the run")

    neurons: str | None = option(
        None,
        "file of neuron sets (NeuronSets.save), or hub:OWNER/NAME[@REVISION] of shared ones, in place of those that "
        "the run finds, or for a model without a run; in expressions its sets are their names",
    )
    beside: str | None = option(
        None,
        "file of neuron sets of languages, where those to be changed are of cultures or other labels: expressions then "
        "have pure(g), compound(g) and generic. Of which language a label is says labels.table.LABEL.spoken",
    )
    identifier: IdentifierOptions = section(TernaryOptions, "how neurons are found; by default as in the run")
    anchored: bool = option(
        True,
        "classify at the thresholds of the run's first snapshot, as counts are compared; false: at the model's own, "
        "as where the run began with random weights",
    )
    kinds: Convention = option("paper", "which neurons count as of a kind, as in alignlab.analyze")
    each: str | None = option(
        None,
        "neurons that are changed, for every language g a set of its own, named as the language; empty text for none; "
        "null: 'specific(g) | related(g)', and just g where there are no kinds. specific(g), related(g) and above(g) "
        "are the language's, general and selected are for all, g is all that the identifier finds, or the file has, of "
        "g, and exclusive(g) what of this no other language has; joined by ~ - & | and parentheses",
    )
    sets: dict[str, str] = option({}, "further sets by name, each an expression such as 'specific(zh) | specific(ja)'")
    sites: list[SiteName] | None = option(
        None,
        "where the neurons are, such as [mlp.act, attention.o], each site apart; null: where the run has counted, or "
        "where those of the file are. At others alignlab.analyze counts them (recount=true probe.site=...)",
        check=lambda sites: _once(sites) if sites is not None else None,
    )
    layers: str | None = option(
        None, "layers of the neurons that are changed, from 0, such as '0-7, 12'; null takes all"
    )

    bands: list[str] = option(
        [],
        "layers, such as [0-7, 8-15], for each of which every set's neurons there are a further set",
        check=_once_if_any,
    )

    operations: list[OperationName] = option(
        ["zero"],
        "what becomes of an activation a: zero: 0; constant: the strength; scale: strength * a; add: a + strength * "
        "mean; replace: what replace_by says; diff_mean: a + strength * (mean - mean of the other languages). Means "
        "are of the set's language, over the counted tokens of the documents that its neurons were found on",
        check=_once,
    )
    strengths: list[float] = option(
        [1.0], "of the operations that have one; zero and replace have none", check=_strengths
    )
    replace_by: Literal["mean", "maximum", "median", "percentile"] = option(
        "mean", "of replace: mean over tokens; or, over documents, a statistic of their mean activations"
    )
    percentile: float = option(90.0, "which one, where replace_by is percentile", ge=0, le=100)
    scope: ScopeName = option(
        "all", "tokens at which neurons are changed: all, those of the prompt, or those behind it"
    )
    controls: list[ControlName] = option(
        ["random", "matched"],
        "neurons of no language that are changed in the place of a set's, as many in every layer: drawn at random, or "
        "alike in how often they are active in its language",
        check=_once_if_any,
    )
    seeds: int = option(5, "draws of each control; a verdict takes two or more", unit="draws", ge=1, le=1000)
    among: int = option(
        10,
        "a matched neuron is drawn among so many that are nearest; with 1 seeds would hardly differ; with more they "
        "have fewer neurons in common, and are less like the set",
        ge=1,
    )

    probe: ProbeOptions = section(ProbeOptions, "the text on which the run has counted its neurons; as in the run")
    text: ProbeOptions | None = section(
        None, "other text to measure on; null: the documents of the probe on which no neuron was found"
    )
    identify_shards: list[int] | None = option(
        None, "shards of the probe by whose counts neurons are found; null takes every other one, from 0"
    )
    same_documents: bool = option(
        False, "find neurons on all shards and measure on the same documents, as the papers do; the tables say so"
    )
    languages: list[str] | None = option(
        None, "languages that are measured and, of those, `each` makes sets for; null takes all", check=_codes
    )
    group: Literal["trained", "unseen"] | None = option(
        None, "of these languages, only those in the training of the run, or those neither there nor the reference"
    )
    max_documents: int | None = option(
        None,
        "of each language at most so many, and as many problems, are measured, parallel ones together; null takes all",
        unit="documents",
        ge=2,
    )
    measures: list[Measure] = option(
        ["perplexity"],
        "perplexity: nats a token, of the tokens that the probe counts; accuracy: answers to the problems of "
        "`evaluation`, greedy, whether they are right and in which language; lss: whether the answers of parallel "
        "`objects` become likelier in one language than in another; fallback: in which language problems are answered "
        "while more and more languages are off",
        check=_once,
    )
    evaluation: TaskOptions | None = section(
        None, "problems of the accuracy; null takes those of the run, but for what neurons were found on"
    )
    fallback: FallbackOptions = section(FallbackOptions, "the path of languages that are switched off")
    objects: ObjectOptions = section(ObjectOptions, "parallel items of lss, but for what neurons were found on")
    max_tokens_per_batch: int = option(8192, "of a forward, padding and all its arms included", unit="tokens", ge=1)

    show_languages: list[str] | None = option(
        None, "languages that the tables show, of those measured; no number changes; null shows all", check=_codes
    )
    name: str = option("deactivation", "of the results' folder, in interventions/ of the run", check=check_name)
    folder: str | None = option(
        None, "folder of the results; null: interventions/NAME in the run, else in runs/", check=check_folder
    )
