"""The page: `render` makes it from data, `write_page` writes it whole or not at all."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

import alignlab
from alignlab.atomic import write_text
from alignlab.errors import InputError, Problem
from alignlab.marks import is_page
from alignlab.neurons.table import ANCHORED
from alignlab.reporting.page.answer import glossary, lead, sentences, thresholds_of
from alignlab.reporting.page.assets import asset, inside_script, policy
from alignlab.reporting.page.capability import helped
from alignlab.reporting.page.card import letters
from alignlab.reporting.page.cards import cards
from alignlab.reporting.page.controls import controls
from alignlab.reporting.page.data import GROUPS, MOVEMENT_VERDICTS, STATUS_WORDS, TRANSITION_KINDS, VERDICTS, PageRun
from alignlab.reporting.page.evaluations import show_tasks
from alignlab.reporting.page.figures import KINDS, LANGUAGE_KINDS
from alignlab.reporting.page.interventions import show
from alignlab.reporting.page.numbers import ANALYSES, captions, number_tables
from alignlab.reporting.page.payload import (
    COLUMNS,
    KEYS,
    VALUES,
    encoded_rows,
    thinned,
    without_matrices,
    without_pairs,
)
from alignlab.reporting.page.relation_cards import parts_of
from alignlab.reporting.page.relation_figures import MEASURES
from alignlab.reporting.page.theme import LIGHT, dark_colours, template
from alignlab.reporting.wording import capital, digits, interval, lower, number, signed
from alignlab.runs import check_writable

MAX_RUNS = 4
MAX_BYTES = 6_000_000  # plotly's library is 4.8 MB of it
MOST_TEXTS = 600  # lines of texts that drive neurons, each of about 500 bytes
_SNAPSHOTS = (60, 40, 30, 20, 10, 5, 2)  # to which rows by layer and degree are thinned, until the page is small enough

SECTIONS = {
    "answer": "What changed",
    "capability": "Answers",
    "tasks": "Tasks",
    "effects": "Effects",
    "texts": "Texts",
    "kinds": "Kinds over steps",
    "layers": "Layers",
    "overlap": "Sharing",
    "transitions": "Transitions",
    "loss": "Loss",
    "setup": "Configuration",
}
_VERDICT_STYLES = {  # classes in the style sheet
    VERDICTS[True]: "beyond",
    MOVEMENT_VERDICTS[True]: "beyond",
    VERDICTS[None]: "unknown",
    MOVEMENT_VERDICTS[None]: "unknown",
    **dict.fromkeys(STATUS_WORDS.values(), "unknown"),
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
    """One self-contained HTML page. Of very many snapshots it shows layers and degrees at some, of very many languages
    no pairs and at last no cells of interventions, and says so.

    Raises InputError for no run or more than four, for a run without snapshots, and for runs whose data alone are
    larger than a page may be.
    """
    problems = [Problem(f"run {run.name!r}", "no snapshots", "at least one step") for run in runs if not run.steps]
    if not 1 <= len(runs) <= MAX_RUNS:
        problems.append(Problem("runs", f"{len(runs)} runs", f"1 to {MAX_RUNS}", "Make a page of fewer runs."))
    if problems:
        raise InputError(*problems)
    page = _render(runs)
    size, library, steps = len(page.encode()), len(get_plotlyjs().encode()), max(len(run.steps) for run in runs)
    for snapshots in _SNAPSHOTS:
        if len(page.encode()) < MAX_BYTES:
            return page
        # At best the data shrink with the snapshots: what would be too large then need not be drawn.
        if library + (size - library) * snapshots / steps >= MAX_BYTES and snapshots > _SNAPSHOTS[-1]:
            continue
        page = _render([thinned(run, snapshots) for run in runs])
    if len(page.encode()) >= MAX_BYTES:  # of very many languages
        least = [without_pairs(thinned(run, _SNAPSHOTS[-1])) for run in runs]
        page = _render(least)
        if len(page.encode()) >= MAX_BYTES and any(run.interventions for run in runs):
            page = _render([without_matrices(run) for run in least])
    if len(page.encode()) >= MAX_BYTES:
        found = f"a page of {len(page.encode()) / 1e6:.1f} MB"
        raise InputError(Problem("runs", found, f"less than {MAX_BYTES / 1e6:.0f} MB", "Make a page of fewer runs."))
    return page


def _render(runs: Sequence[PageRun]) -> str:
    effects = show([run.interventions for run in runs])
    tasks = show_tasks([run.evaluations for run in runs])
    made = cards(runs, effects, tasks)
    texts = [run.texts.first(MOST_TEXTS // len(runs)) if run.texts is not None else None for run in runs]
    optional = (
        ("capability", "capability" in made), ("tasks", tasks), ("effects", effects), ("texts", any(texts))
    )  # fmt: skip
    absent = [name for name, there in optional if not there]
    script = inside_script(asset("page.js"))
    plotly = inside_script(get_plotlyjs())
    drawn = {
        "figures": {name: card.encoded() for name, card in made.items()},
        "runs": [
            {"name": run.name, "stepNames": run.step_names, "neurons": run.neurons, "rows": encoded_rows(run)}
            for run in runs
        ],
        "kinds": KINDS,
        "keys": KEYS,
        "values": VALUES,
        "columns": COLUMNS,
        "template": template(),
        "dark": dark_colours(),
        "text": LIGHT["text"],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters |= {"number": number, "signed": signed, "capital": capital}
    return environment.from_string(asset("page.html")).render(
        runs=runs,
        labels=letters(runs),
        cards=made,
        sections=[one for one in SECTIONS.items() if one[0] not in absent],
        tasks=tasks,
        effects=effects,
        texts=texts,
        helped=helped,
        lead=lead,
        glossary=glossary,
        groups=GROUPS,
        controls=[controls(run) for run in runs],
        sentences=sentences,
        language_tables=[_languages(run) for run in runs],
        kinds=TRANSITION_KINDS,
        number_tables=number_tables(runs),
        without_numbers=[
            (place, run) for place, run in enumerate(runs) if not any(len(run.of(name)) for name in ANALYSES)
        ],
        section_tables=captions(),
        part_tables=[{step: at.parts for step, at in parts_of(run).items()} for run in runs],
        facts=[_facts(run) for run in runs],
        environments=[json.dumps(run.environment, indent=2, ensure_ascii=False, default=str) for run in runs],
        any_overlaps=any(len(run.of("language_overlap")) for run in runs),
        measures=MEASURES,
        digits=digits,
        interval=interval,
        verdict_styles=defaultdict(str, _VERDICT_STYLES),
        right_to_left=_RIGHT_TO_LEFT,
        version=alignlab.__version__,
        policy=policy(plotly, script),
        css=Markup(asset("page.css")),  # noqa: S704 (ours)
        js=Markup(script),  # noqa: S704 (ours)
        plotly=Markup(plotly),  # noqa: S704 (plotly's)
        data=Markup(to_json_plotly(drawn, engine="json")),  # noqa: S704 (without any "<"; numbers that are none are null)
    )


def _languages(run: PageRun) -> dict[str, Any]:
    """A table with the columns that the run has, and what it lacks."""
    counts = run.counts(ANCHORED, "language")
    courses = {kind: _courses(run, counts[counts.kind == kind]) for kind in LANGUAGE_KINDS}
    courses["loss"] = _courses(run, run.losses[run.losses.language != ""], 3)
    columns = {
        name: [number(getattr(language, name)) for language in run.languages] for name in ("tokens", "documents")
    }
    columns |= {
        name: [courses[name].get(language.code, "") for language in run.languages] for name in (*LANGUAGE_KINDS, "loss")
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    lacking = {
        part: [name for name in names if name not in shown]
        for part, names in {"tokens": ("tokens", "documents"), "languages": LANGUAGE_KINDS, "losses": ("loss",)}.items()
    }
    return {
        "columns": list(shown),
        "lines": [(language, cells) for language, *cells in zip(run.languages, *shown.values(), strict=True)],
        "own_names": any(language.own_name for language in run.languages),
        "missing": [f"{' and '.join(names)}: {lower(run.missing(part))}" for part, names in lacking.items() if names],
    }


def _courses(run: PageRun, rows: pd.DataFrame, places: int = 0) -> dict[str, str]:
    """By language, its number at the first and the last step; of those that have one at both."""
    ends = rows.pivot(index="language", columns="step", values="value").reindex(columns=run.ends).dropna()
    return {code: " → ".join(number(value, places) for value in values) for code, *values in ends.itertuples()}


def _facts(run: PageRun) -> list[tuple[str, str]]:
    layers, width = run.shape
    tokens = [language.tokens for language in run.languages if language.tokens is not None]
    options = ", ".join(f"{name} {value}" for name, value in run.options.items())
    anchored = ", ".join(f"{name} {number(values.iloc[0], 4)}" for name, values in thresholds_of(run, ANCHORED))
    return [
        ("run" if run.is_run else "name", run.name),
        ("folder", run.folder),
        ("model", run.model or "not given"),
        ("revision", run.revision or "not given"),
        ("site and scope", f"{run.site}, {run.scope}"),
        ("neurons", f"{layers:,} layers x {width:,} = {run.neurons:,}"),
        ("identifier", f"{run.identifier}{': ' if options else ''}{options}"),
        ("anchored thresholds", anchored or "not given"),
        *([("stages", _stages(run))] if run.stage_ends else []),
        ("snapshots", ", ".join(run.step_name(step) for step in sorted(run.steps))),
        *((f"{group} languages", " ".join(run.of_group(group)) or "none") for group in ("trained", "unseen")),
        ("reference", " ".join(run.of_group("reference")) or "none"),
        ("tokens counted at a snapshot", f"{sum(tokens):,}" if tokens else "not computed"),
    ]


def _stages(run: PageRun) -> str:
    ended = "; ".join(f"{name} to step {step:,}" for name, step in run.stage_ends.items())
    return f"{ended}; then one more. In figures over steps a dotted line with its name is the end of each."
