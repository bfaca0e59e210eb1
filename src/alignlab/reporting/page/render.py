"""The page: `render` makes it from data, `write_page` writes it whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import alignlab
from alignlab.atomic import write_text
from alignlab.errors import InputError, Problem
from alignlab.marks import is_page
from alignlab.neurons.table import ANCHORED, Row
from alignlab.reporting.page.answer import VERDICT_STYLES, Answer, Moved, number, signed, thresholds_of
from alignlab.reporting.page.card import letters
from alignlab.reporting.page.cards import cards
from alignlab.reporting.page.data import TRANSITION_KINDS, PageLanguage, PageRun
from alignlab.reporting.page.figures import KINDS
from alignlab.reporting.page.numbers import ANALYSES, captions, number_tables
from alignlab.reporting.page.panels import digits
from alignlab.reporting.page.payload import COLUMNS, KEYS, VALUES, encoded_rows, script_json, thinned
from alignlab.reporting.page.relation_cards import part_rows, transition_tables
from alignlab.reporting.page.relation_figures import MEASURES
from alignlab.reporting.page.theme import LIGHT, dark_colours, template
from alignlab.runs import check_writable

MAX_RUNS = 4
MAX_BYTES = 6_000_000  # plotly's library is 4.8 MB of it
_SNAPSHOTS = (60, 40, 30, 20, 10, 5, 2)  # to which rows by layer and degree are thinned, until the page is small enough

SECTIONS = {
    "answer": "What changed",
    "kinds": "Kinds over steps",
    "layers": "Layers",
    "languages": "Languages",
    "degrees": "Sharing",
    "overlap": "Overlap",
    "transitions": "Transitions",
    "parts": "Layer parts",
    "loss": "Loss",
    "setup": "Configuration",
}
_RIGHT_TO_LEFT = {"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm"}


def check_page(path: Path) -> None:
    """Refuse, before any work, to write where something else than a page of alignlab lies, or nobody can write."""
    if path.is_file():
        if not is_page(path):
            raise InputError(Problem(f"file ({path})", "it is no page that alignlab wrote", "a page", "Name another."))
    elif path.exists() or path.is_symlink():
        raise InputError(Problem(f"file ({path})", "it is no file", "a file to be written", "Name another."))
    check_writable(path.parent, "file")


def write_page(runs: Sequence[PageRun], path: Path) -> None:
    """Write the page of one to four runs. Raises InputError as `render` does, OSError where it cannot be written."""
    write_text(path, render(runs))


def render(runs: Sequence[PageRun]) -> str:
    """One self-contained HTML page. Of very many snapshots it shows layers and degrees at some, and says so.

    Raises InputError for no run or more than four, for a run without snapshots, and for runs whose data alone are
    larger than a page may be.
    """
    problems = [Problem(f"run {run.name!r}", "no snapshots", "at least one step") for run in runs if not run.steps]
    if not 1 <= len(runs) <= MAX_RUNS:
        problems.append(Problem("runs", f"{len(runs)} runs", f"1 to {MAX_RUNS}", "Make a page of fewer runs."))
    if problems:
        raise InputError(*problems)
    page = _render(runs)
    for snapshots in _SNAPSHOTS:
        if len(page.encode()) < MAX_BYTES:
            return page
        page = _render([thinned(run, snapshots) for run in runs])
    if len(page.encode()) >= MAX_BYTES:
        found = f"a page of {len(page.encode()) / 1e6:.1f} MB"
        raise InputError(Problem("runs", found, f"less than {MAX_BYTES / 1e6:.0f} MB", "Make a page of fewer runs."))
    return page


def _render(runs: Sequence[PageRun]) -> str:
    made = cards(runs)
    script = _inside_script(_asset("page.js"))
    plotly = _inside_script(get_plotlyjs())
    drawn = {
        "figures": {name: card.figure.encoded() for name, card in made.items()},
        "runs": [{"name": run.name, "stepNames": run.step_names, "rows": encoded_rows(run)} for run in runs],
        "kinds": KINDS,
        "keys": KEYS,
        "values": VALUES,
        "columns": COLUMNS,
        "template": template(),
        "dark": dark_colours(),
        "text": LIGHT["text"],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    return environment.from_string(_asset("page.html")).render(
        runs=runs,
        labels=letters(runs),
        cards=made,
        sections=SECTIONS.items(),
        answers=[_answer(run) for run in runs],
        language_tables=[{"run": place, **_languages(run)} for place, run in enumerate(runs)],
        transition_tables=[table for place, run in enumerate(runs) for table in _transitions(place, run)],
        transition_steps=lambda run: run.steps_of("transitions"),
        number_tables=number_tables(runs),
        without_numbers=[(place, run) for place, run in enumerate(runs) if not any(run.of(name) for name in ANALYSES)],
        section_tables=captions(),
        part_tables=[table for place, run in enumerate(runs) for table in _parts(place, run)],
        part_steps=lambda run: run.steps_of("layer_parts"),
        facts=[_facts(run) for run in runs],
        environments=[json.dumps(run.environment, indent=2, ensure_ascii=False, default=str) for run in runs],
        any_overlaps=any(run.of("language_overlap") for run in runs),
        measures=MEASURES,
        version=alignlab.__version__,
        policy=_policy(plotly, script),
        css=Markup(_asset("page.css")),  # noqa: S704 (ours)
        js=Markup(script),  # noqa: S704 (ours)
        plotly=Markup(plotly),  # noqa: S704 (plotly's)
        data=Markup(script_json(drawn)),  # noqa: S704 (without any "<")
    )


@dataclass(frozen=True)
class _Line:
    """A row of the table beside the answer."""

    group: str
    kind: str
    before: str
    after: str
    change: str
    interval: str
    verdict: str
    css: str
    starts: bool


def _answer(run: PageRun) -> dict[str, Any]:
    answer = Answer(run)
    lines = []
    for group in ("all", "trained", "unseen"):
        found = answer.totals(group)
        lines += [_line(moved, moved is found[0]) for moved in found]
    return {
        "lead": answer.lead(),
        "sentences": answer.sentences(),
        "table": lines,
        "first": run.step_name(answer.first),
        "last": run.step_name(answer.last),
        "neurons": f"{run.neurons:,}",
    }


def _line(moved: Moved, starts: bool) -> _Line:
    places = digits(moved.last.group)
    low, high = moved.change.low, moved.change.high
    return _Line(
        moved.last.group,
        moved.last.kind,
        number(moved.first.value, places),
        number(moved.last.value, places),
        signed(moved.change.value, places),
        "" if low is None or high is None else f"{signed(low, 1)} to {signed(high, 1)}",
        moved.verdict,
        VERDICT_STYLES[moved.change.beyond_noise],
        starts,
    )


def _languages(run: PageRun) -> dict[str, Any]:
    """A table with the columns that the run has, and what it lacks."""
    answer = Answer(run)
    losses = {(row.step, row.language): row.value for row in run.losses}

    def course(kind: str, language: PageLanguage) -> str:
        moved = answer.moved(kind, "language", language.code)
        return f"{number(moved.first.value)} → {number(moved.last.value)}" if moved else ""

    def loss(language: PageLanguage) -> str:
        ends = [number(losses.get((step, language.code)), 3) for step in (answer.first, answer.last)]
        return " → ".join(ends) if all(ends) else ""

    columns = {
        "tokens": ("tokens", [number(language.tokens) for language in run.languages]),
        "documents": ("tokens", [number(language.documents) for language in run.languages]),
        "specific": ("languages", [course("specific", language) for language in run.languages]),
        "related": ("languages", [course("related", language) for language in run.languages]),
        "loss": ("losses", [loss(language) for language in run.languages]),
    }
    shown = {name: [cell or "not computed" for cell in cells] for name, (_, cells) in columns.items() if any(cells)}
    return {
        "columns": list(shown),
        "lines": [
            (
                language,
                "rtl" if language.script in _RIGHT_TO_LEFT else "ltr",
                [cells[place] for cells in shown.values()],
            )
            for place, language in enumerate(run.languages)
        ],
        "own_names": any(language.own_name for language in run.languages),
        "missing": [
            f"{' and '.join(name for name, (of, _) in columns.items() if of == part and name not in shown)}: "
            f"{run.missing(part)[:1].lower()}{run.missing(part)[1:]}"
            for part in dict.fromkeys(part for name, (part, _) in columns.items() if name not in shown)
        ],
    }


def _transitions(place: int, run: PageRun) -> list[dict[str, Any]]:
    kinds = [kind for kind in TRANSITION_KINDS if kind != "none"] + ["none"]
    tables = []
    for (thresholds, step), moves in transition_tables(run).items():
        cells = [[int(moves[old, new].value) for new in kinds] for old in kinds]
        ends = [[*(_interval(moves[old, new]) for new in kinds), ""] for old in kinds]
        lines = [(kind, [*line, sum(line)]) for kind, line in zip(kinds, cells, strict=True)]
        lines.append(("all", [sum(line[place] for _, line in lines) for place in range(len(kinds) + 1)]))
        ends.append([""] * (len(kinds) + 1))
        tables.append(
            {
                "run": place,
                "thresholds": thresholds,
                "step": step,
                "before": run.step_name(min(run.steps)),
                "after": run.step_name(step),
                "kinds": kinds,
                "intervals": any(row.low is not None for row in moves.values()),
                "lines": [
                    (kind, list(zip(map(number, line), spans, strict=True)))
                    for (kind, line), spans in zip(lines, ends, strict=True)
                ],
            }
        )
    return tables


def _interval(row: Row) -> str:
    """The interval of a cell, if it was computed."""
    return "" if row.low is None or row.high is None else f"{number(row.low, 1)} to {number(row.high, 1)}"


def _parts(place: int, run: PageRun) -> list[dict[str, Any]]:
    tables = []
    for step in run.steps_of("layer_parts"):
        lines = [
            {
                "part": part,
                "layers": f"{first} to {last}" if last > first else f"{first}",
                "label": label or "no label: no signature holds",
                "stability": f"{share:.0%}" if share is not None else "" if part == 1 else "not computed",
            }
            for _, part, first, last, label, share in part_rows(run, step)
        ]
        tables.append({"run": place, "step": step, "at": run.step_name(step), "lines": lines})
    return tables


def _facts(run: PageRun) -> list[tuple[str, str]]:
    layers, width = run.shape
    tokens = [language.tokens for language in run.languages if language.tokens is not None]
    options = ", ".join(f"{name} {value}" for name, value in run.options.items())
    trained, unseen = run.of_group(trained=True), run.of_group(trained=False)
    anchored = ", ".join(f"{name} {values[0]:.4f}" for name, values in thresholds_of(run, ANCHORED).items())
    return [
        ("run", run.name),
        ("folder", run.folder),
        ("model", run.model),
        ("revision", run.revision or "not given"),
        ("site and scope", f"{run.site}, {run.scope}"),
        ("neurons", f"{layers:,} layers x {width:,} = {run.neurons:,}"),
        ("identifier", f"{run.identifier}{': ' if options else ''}{options}"),
        ("anchored thresholds", anchored or "not given"),
        ("snapshots", ", ".join(run.step_name(step) for step in sorted(run.steps))),
        ("trained languages", " ".join(trained) or "none"),
        ("unseen languages", " ".join(unseen) or "none"),
        ("tokens counted at a snapshot", f"{sum(tokens):,}" if tokens else "not computed"),
    ]


def _policy(*scripts: str) -> str:
    """What the page may do: run its own two scripts, known by their hashes, and nothing else.

    Markup that would slip in could not run, and nothing can be requested: not even by plotly's own code.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    # plotly.js sets styles of elements; heat maps are images it makes itself.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _inside_script(code: str) -> str:
    """Code that cannot end its script element; where these occur in JavaScript they are in strings."""
    return code.strip().replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
