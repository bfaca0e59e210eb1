"""The comparison of identifiers as a page: sizes, what they share, how stable they are, where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from alignlab.benchmarking.agreement import Compared
from alignlab.neurons.agreement import Agreement, layer_shares, shared_share
from alignlab.reporting.page.panels import Panels, plain
from alignlab.reporting.page.plain import Section, write_plain_page
from alignlab.reporting.page.theme import BEHIND_NUMBERS, LIGHT, scale
from alignlab.reporting.wording import number

_SAYS = (
    "An overlap beyond chance says that two identifiers look at the same thing, not that either is right: those that "
    "read the same record are not independent. There is no verdict here; where the truth is known is asked by "
    "alignlab.benchmark identifiers."
)
_LINE = 34  # pixels of a line of a figure
_DASHES = ("solid", "dash", "dot", "dashdot")
_COLOURS = ("specific", "related", "general", "more", "less", "muted")


def write_agreement_page(compared: Compared, path: Path) -> None:
    """Write the page, whole or not at all."""
    layers, width = compared.shape
    about = [
        f"{layers} layers of {width:,} neurons at {compared.site}, {compared.scope} tokens, in "
        f"{len(compared.languages)} languages: {' '.join(compared.languages)}.",
        "Which neurons each identifier calls a language's, and how far they name the same ones. Chance is what two "
        "random sets of the same sizes in each layer would share. Means are over languages.",
        *([compared.note] if compared.note else []),
    ]
    last = compared.records[-1]
    sections = [
        _sizes(compared, last),
        *([_shared(compared, last)] if len(compared.found[last]) > 1 else []),
        _stability(compared, last),
        _layers(compared, last),
        *([_tokens(compared, last)] if last in compared.fertility else []),
    ]
    write_plain_page(path, f"Identifiers on {last}", about, sections)


def _sizes(compared: Compared, record: str) -> Section:
    lines = []
    for name, one in compared.found[record].items():
        sizes = [int(mask.sum()) for mask in one.sets.values()]
        share = shared_share(one.sets)
        lines.append(
            [
                name,
                compared.options[name] or "none",
                compared.reads[name],
                number(mean(sizes), 1),
                f"{min(sizes):,} to {max(sizes):,}",
                "" if share != share else f"{share:.2f}",
                f"{one.seconds:.2f} s",
            ]
        )
    header = ("identifier", "options", "reads", "neurons a language", "range", "in several sets", "time")
    notes = ["In several sets: of the neurons of any set, the share in two or more. Time: to find them in the record."]
    notes += [f"{name}: {one.reason}." for name, one in compared.found[record].items() if one.reason]
    return Section("What each finds", header=header, lines=lines, notes=notes)


def _shared(compared: Compared, record: str) -> Section:
    """The figure is the terminal's table: what a pair shares above the diagonal, and by chance below it."""
    names = [*compared.found[record]]
    pairs = {(first, second): found for first, second, found in compared.between(record)}
    figure = Panels([""], 1, _LINE * len(names))
    places = [str(place) for place in range(1, len(names) + 1)]
    named = [f"{plain(name)} {place}" for name, place in zip(names, places, strict=True)]
    values = [[_cell(pairs, row, column) for column in names] for row in names]
    figure.colour_scale(0, "", scale("more", BEHIND_NUMBERS), 0, 1)
    figure.add(
        "heatmap", 0, z=values, x=places, y=named,
        text=[["" if value is None else _number(value) for value in line] for line in values],
        texttemplate="%{text}", textfont={"size": 11, "color": LIGHT["text"]},
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>", coloraxis="coloraxis", xgap=1,
        ygap=1,
    )  # fmt: skip
    # Every identifier is named: plotly would leave out every other one.
    figure.x(0, showgrid=False, type="category", dtick=1, side="top")
    figure.y(0, autorange="reversed", showgrid=False, dtick=1)
    lines = [
        [first, second, _number(found.jaccard), _number(found.chance), str(found.languages)]
        for (first, second), found in pairs.items()
    ]
    header = ("identifier", "other", "overlap", "chance", "languages")
    said = ["Jaccard overlap of each pair above the diagonal, what chance gives below it; mean over languages.", _SAYS]
    return Section("What they share", said, figure, header, lines)


def _cell(pairs: Mapping[tuple[str, str], Agreement], row: str, column: str) -> float | None:
    if row == column:
        return None
    value = pairs[row, column].jaccard if (row, column) in pairs else pairs[column, row].chance
    return None if value != value else value


def _stability(compared: Compared, record: str) -> Section:
    others = [other for other in compared.records if other != record]
    lines = []
    for name in compared.found[record]:
        of = [compared.of_halves(record, name), *(compared.of_records(other, record, name) for other in others)]
        lines.append([name, *("one shard" if one is None else _beside(one) for one in of)])
    said = ["On either half of the documents, which holds half as much text; and on the other models and texts."]
    header = ("identifier", "halves of the documents", *others)
    return Section("How stable it is", said, header=header, lines=lines, notes=["Jaccard overlap, in brackets chance."])


def _layers(compared: Compared, record: str) -> Section:
    figure = Panels([""], 1, 300)
    lines = []
    for place, (name, one) in enumerate(compared.found[record].items()):
        shares = layer_shares(one.sets).nanmean(dim=0).tolist()
        style = {"color": LIGHT[_COLOURS[place % len(_COLOURS)]], "dash": _DASHES[place // len(_COLOURS) % 4]}
        figure.add("scatter", 0, x=[*range(len(shares))], y=shares, mode="lines+markers", name=plain(name), line=style)
        lines.append([name, *map(_number, shares)])
    figure.x(0, "layer, from 0", dtick=max(1, compared.shape[0] // 16))
    figure.y(0, rangemode="tozero", tickformat=".0%")
    figure.layout["showlegend"] = True
    header = ("identifier", *map(str, range(compared.shape[0])))
    said = ["The share of a language's neurons in each layer, mean over languages."]
    return Section("Where they lie", said, figure, header, lines)


def _tokens(compared: Compared, record: str) -> Section:
    lines: list[Sequence[str]] = [
        [name, f"{one.documents:,}", f"{one.tokens:,}", number(one.per_character, 2), number(one.premium, 2)]
        for name, one in compared.fertility[record].items()
    ]
    header = ("language", "documents", "tokens", "tokens a character", f"beside {compared.reference}")
    notes = [
        "A count a token means another amount of text in each language. Beside the reference: tokens of the documents "
        "that say the same, as a ratio; empty where there are none."
    ]
    return Section("What a token is", header=header, lines=lines, notes=notes)


def _beside(found: Agreement) -> str:
    return f"{found.jaccard:.2f} ({found.chance:.2f})" if found.jaccard == found.jaccard else "no neurons"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.2f}"
