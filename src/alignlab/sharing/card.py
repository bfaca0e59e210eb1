"""The card of shared neurons: what they are of, how they were found, how many there are, and how to load them."""

from __future__ import annotations

from collections.abc import Sequence

from alignlab import __version__
from alignlab.languages import LANGUAGES
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Kind
from alignlab.neurons.sets import NeuronSets
from alignlab.redaction import hide

TAGS = ("alignlab", "interpretability", "language-neurons")
# Identifiers that are functions of counts alone, with the arguments that are thresholds of theirs: of these the card
# says how the very sets follow from the counts.
_FUNCTIONS = {"ternary": {"threshold": "tau", "lambda_": "lambda"}, "lape": {"threshold": "tau"}}


def card(
    repo: str,
    sets: NeuronSets,
    counts: ActivationCounts | None = None,
    result: Classification | None = None,
    licence: str = "unknown",
    found_by: ActivationCounts | None = None,
    anchor: int | None = None,
) -> str:
    """The text of README.md.

    repo: by which name it is loaded.  result: of `counts`, for the numbers by kind; of sets alone there are sizes.
    found_by: the counts of the sets, where these are not shared: they know the training.
    anchor: the step whose thresholds were taken, where that is another one.
    """
    from huggingface_hub import DatasetCardData

    codes = [name for name in sets.names if name in LANGUAGES]
    head = DatasetCardData(license=licence, tags=list(TAGS), language=codes or None).to_yaml()
    name = repo.split("/")[-1]
    layers, neurons = sets.shape
    found_by = found_by or counts
    facts = [
        ("model", as_code(sets.model) or "unknown"),
        ("revision", as_code(sets.revision) or "unknown"),
        ("training", _training(found_by)),
        ("neurons", f"{layers} layers x {neurons:,} at {as_code(sets.site)}, numbered from 0"),
        ("tokens counted", f"scope {as_code(sets.scope)}" if sets.scope else "unknown"),
        ("read from them", as_code(sets.statistic) or "unknown"),
        ("found by", as_code(result.identifier) if result is not None else "unknown"),
        ("thresholds", _thresholds(sets, anchor)),
        ("text", f"fingerprint {as_code(sets.data_fingerprint)}" if sets.data_fingerprint else "unknown"),
        ("alignlab", __version__),
    ]
    lines = [
        "---",
        head,
        "---",
        "",
        f"# {name}",
        "",
        f"Neurons of {as_code(sets.model) or 'a model'}, by what they are active for, as alignlab found them.",
        "",
        *_table([[key, value] for key, value in facts], ["", ""]),
        "",
        "## Sets",
        "",
        *_numbers(sets, result),
        "",
        "## How to load",
        "",
        "```python",
        "from alignlab import from_hub",
        "",
        f'shared = from_hub("{repo}", model="{_quoted(sets.model)}")' if sets.model else f'shared = from_hub("{repo}")',
        "shared.sets  # by name, (layers, neurons) bool",
        *([] if counts is None else _anew(result)),
        "```",
        "",
        "Only safetensors and this text are here: nothing that is loaded can execute code. A set says which neurons",
        "were found with this text and these thresholds; other text, another site or another method finds others.",
    ]
    return hide("\n".join(lines) + "\n")


def as_code(text: str) -> str:
    """Text as a span of code in Markdown, on one line, also in a table: none of it is markup there."""
    one_line = "".join(character if character.isprintable() else " " for character in text)
    safe = one_line.replace("`", "'").replace("|", "/").strip()
    return f"`{safe}`" if safe else ""


def _quoted(text: str) -> str:
    """Within a Python string in a block of code: what could end either is left out."""
    return "".join(character for character in text if character.isprintable() and character not in '"\\`')


def _anew(result: Classification | None) -> list[str]:
    """Code that classifies the shared counts, where that can be said at the thresholds by which the sets were found."""
    arguments = _FUNCTIONS.get(result.identifier) if result is not None else None
    if result is None or result.cut is None or arguments is None:
        return ["shared.counts  # to classify anew: other sets, unless identifier and thresholds are those above"]
    given = {argument: repr(float(result.thresholds[name])) for argument, name in arguments.items()}
    given["cut"] = f"Cut({float(result.cut.score)!r}, {int(result.cut.place)})"
    return [
        "",
        "# the same sets from the counts; with other thresholds, or top_rate=0.01 in the place of them, others",
        f"from alignlab.neurons import {result.identifier}",
        "from alignlab.neurons.selection import Cut",
        "",
        f"again = {result.identifier}(",
        "    shared.counts,",
        *(f"    {argument}={value}," for argument, value in given.items()),
        ").sets",
    ]


def _training(counts: ActivationCounts | None) -> str:
    if counts is None or counts.step is None:
        return "none that the files tell of"
    trained = ", ".join(as_code(code) for code in counts.trained_languages) or "no language told"
    return f"step {counts.step:,}, in training: {trained}" if counts.step else "step 0: before training"


def _thresholds(sets: NeuronSets, anchor: int | None) -> str:
    values = ", ".join(f"{as_code(key)} {value:.6g}" for key, value in sets.thresholds.items()) or "none"
    return values if anchor is None else f"{values}: those of step {anchor:,}, by which steps are compared"


def _numbers(sets: NeuronSets, result: Classification | None) -> list[str]:
    """A line for each set."""
    sizes, tokens = sets.sizes(), sets.tokens
    header = ["set", "neurons", "tokens"]
    columns = [[as_code(name) for name in sets.names], [f"{sizes[name]:,}" for name in sets.names]]
    columns.append([f"{tokens[name]:,}" if name in tokens else "unknown" for name in sets.names])
    said = []
    if result is not None and result.has_degree:
        for kind in (Kind.SPECIFIC, Kind.RELATED):
            of_kind = NeuronSets.of(result, {kind}).sizes()
            header.append(kind.name.lower())
            columns.append([f"{of_kind.get(name, 0):,}" for name in sets.names])
        general = int((result.kinds("paper") == Kind.GENERAL).sum())
        said = [
            "",
            f"General neurons, which belong to all: {general:,}. Kinds by the paper's convention: specific and related "
            "among the selected neurons, general among all. A set holds the selected neurons above tau.",
        ]
    return [*_table([list(row) for row in zip(*columns, strict=True)], header), *said]


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]]
