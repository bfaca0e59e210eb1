"""What an analysis leaves: tables, sets and what people read on the terminal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from alignlab import console
from alignlab.analysis.draws import Drawing
from alignlab.analysis.driving import NeuronTexts
from alignlab.analysis.options import MEANINGS, USUAL
from alignlab.analysis.records import StoredCounts
from alignlab.analysis.snapshots import Snapshot
from alignlab.atomic import whole_folder
from alignlab.config import to_plain
from alignlab.manifest import check_replaceable
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import ImportanceIdentifier, identifier_of
from alignlab.neurons.sets import NeuronSets
from alignlab.neurons.table import Row, csv_text
from alignlab.question import AnalyzeConfig
from alignlab.reporting.counts_table import (
    LINE_LOSSES,
    kinds_counted,
    line_of,
    table_note,
    table_of,
    table_title,
)
from alignlab.reporting.driving_texts import TERMINAL_HEADER, TextTables, terminal_lines, terminal_note, text_tables
from alignlab.reporting.page import write_page
from alignlab.reporting.page.answer import lead
from alignlab.reporting.page.asked import asked_tables
from alignlab.reporting.page.data import Asked
from alignlab.reporting.page_run import SHOWN, PageOf
from alignlab.reporting.wandb_media import SnapshotsInWandb
from alignlab.reporting.wandb_run import WandbRun
from alignlab.reporting.wording import capital
from alignlab.runs import check_writable

# What is read of a record, as the header of sets says it.
STATISTICS = {"counts": "activation probability", "means": "mean activation of documents", "importance": "importance"}
# The kind of folder that an analysis leaves.
RESULTS = "analysis"
_MOST_LINES, _MOST_TELLING = 40, 15  # of an analysis on the terminal; where sentences say the answer
TEXTS_FILE = "texts.safetensors"
_FILES = ("table.csv", "sets.safetensors", TEXTS_FILE, "report.html", "config.yaml")


@dataclass(frozen=True)
class Results:
    """folder: where they are.  first, last: the first and the last record; the same where there is one.

    lines: for each record the cells of a table.
    asked: the numbers of the analyses that were asked by name.
    lead: what changed, by both verdicts; empty without intervals.
    wandb: where the W&B run is; None without one.
    sets: of the last record, by site; the first are those in `sets.safetensors`, others of identifiers that find some
        at several sites.
    texts: what drives neurons; None where it was not asked, or no neuron was found.
    """

    folder: Path
    first: Snapshot
    last: Snapshot
    lines: list[list[str]]
    asked: list[Asked]
    lead: str = ""
    wandb: str | None = None
    sets: dict[str, NeuronSets] = field(default_factory=dict)
    texts: TextTables | None = None


def check_results(config: AnalyzeConfig) -> None:
    """Refuse, before any work, a folder that holds something else than an analysis, or that cannot be written."""
    check_replaceable(config.results, RESULTS, "folder")
    check_writable(config.results, "folder")


def write_results(config: AnalyzeConfig, records: Sequence[StoredCounts], texts: NeuronTexts | None = None) -> Results:
    """Ask all records and write `table.csv`, `sets.safetensors` (of the last record), `report.html` and `config.yaml`;
    with texts that drive neurons also `texts.safetensors`; with intervals `draws.safetensors`, what the numbers of the
    first and the last record are in each resample.

    sets: by language, the selected neurons above tau; those at further sites are in files named by these.
    The page shows kinds: without a tau there is none.
    """
    folder = config.results
    logged = config.wandb_run()
    with logged or nullcontext(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        with whole_folder(folder, RESULTS) as partial:
            shown = _texts(config, records, texts, partial)
            first, last, lines, asked, said, sets = _ask(config, records, partial, logged, shown)
        if logged is not None:
            logged.log_results([folder / file for file in _FILES if (folder / file).is_file()])
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        console.note(f"note: {message}")
    place = logged.place if logged is not None else None
    return Results(folder, first, last, lines, asked, said, place, sets, shown)


def _texts(
    config: AnalyzeConfig, records: Sequence[StoredCounts], texts: NeuronTexts | None, folder: Path
) -> TextTables | None:
    """Write what drives neurons, and give the tables of it."""
    if texts is None:
        return None
    for note in texts.notes:
        console.note(f"note: {note}")
    if texts.record is not None:
        texts.record.save(folder / TEXTS_FILE)
    return text_tables(texts, config.show_languages or records[-1].load().languages)


def _ask(
    config: AnalyzeConfig,
    records: Sequence[StoredCounts],
    folder: Path,
    logged: WandbRun | None,
    texts: TextTables | None,
) -> tuple[Snapshot, Snapshot, list[list[str]], list[Asked], str, dict[str, NeuronSets]]:
    """Ask one record after the other and write what `write_results` says; the first, the last, a line of each, the
    numbers of what was asked by name, the lead, and the sets by site.
    """
    first: Snapshot | None = None
    lines = []
    of_first: list[Row] = []
    of_last: list[Row] = []
    drawing, written = Drawing(), 0
    page = page_of(config, f"python -m alignlab.analyze config={config.results / 'config.yaml'} intervals=ends")
    shown = None if logged is None else SnapshotsInWandb(logged)
    with (
        (folder / "table.csv").open("w", encoding="utf-8", newline="") as table,
        console.progress("Analysing", len(records)) as advance,
    ):
        inquiry = config.inquiry(SHOWN)
        for number, (view, found) in enumerate(inquiry.drawn_over(records)):
            rows = [one.row for one in found]
            asked = [one for one in found if one.row.analysis in config.analyses]
            of_last = [one.row for one in asked]
            of_first = of_first if first else of_last
            if inquiry.resampling is not None and number in (0, len(records) - 1):
                drawing.add(enumerate(asked, written), view.counts.shape[1], inquiry.resampling.digest_of(view.counts))
            written += len(asked)
            table.write(csv_text(of_last, header=first is None))
            first, last, last_counts = first or view.now, view.now, view.counts
            lines.append(line_of(view.now))
            if view.now.result.has_degree:
                page.add(view, rows)
            if shown is not None:
                shown.record(view.now, view.now.step if config.by_step else number)
            advance()
    drawing.save(folder / "table.csv")
    (folder / "config.yaml").write_text(config.document, encoding="utf-8")
    assert first is not None
    statistic = STATISTICS[identifier_of(config.identifier).reads]
    own = NeuronSets.of(last.result, counts=last_counts, statistic=statistic)
    own.save(folder / "sets.safetensors")
    elsewhere = _elsewhere(config, records[-1], last_counts)
    for site, sets in elsewhere.items():
        sets.save(folder / _file_of(site))
    named = {} if config.analyses == USUAL else {str(name): MEANINGS[name].shows for name in config.analyses}
    asked_by_name = asked_tables(of_first, of_last, named)
    said = ""
    if last.result.has_degree:
        shown_page = replace(page.page(), asked=asked_by_name, texts=texts)
        write_page([shown_page], folder / "report.html")
        said = lead(shown_page) if config.intervals != "none" and first is not last else ""
    return first, last, lines, asked_by_name, said, {own.site: own, **elsewhere}


def _elsewhere(config: AnalyzeConfig, record: StoredCounts, counts: ActivationCounts) -> dict[str, NeuronSets]:
    """By site other than that of the counts, the sets that the identifier finds there."""
    identifier = identifier_of(config.identifier)
    if not isinstance(identifier, ImportanceIdentifier):
        return {}
    found = identifier.at_sites(record.read_by(identifier, counts))
    statistic = STATISTICS[identifier.reads]
    return {
        site: replace(NeuronSets.of(result, counts=counts, statistic=statistic), site=site)
        for site, result in found.items()
        if site != counts.site
    }


def _file_of(site: str) -> str:
    return f"sets-{site}.safetensors"


def page_of(config: AnalyzeConfig, with_intervals: str) -> PageOf:
    """The page to be filled with the records that `config` asks; `with_intervals`: the command that has them, and what
    reassigned movement brings.
    """
    source = config.run or config.counts or "models"
    name = Path(source).name if config.run or config.counts else " and ".join(map(_short, config.models))
    options = to_plain(config)["identifier"]
    identifier = options.pop("name")
    folder = config.results if config.run is None else Path(config.run).expanduser()
    asked = f"run={config.run}" if config.run else f"config={config.results / 'config.yaml'}"
    how_to = dict.fromkeys(("intervals", "movement"), with_intervals)
    how_to["losses"] = f"python -m alignlab.analyze run={config.run} recount=true"
    if config.run is None:
        how_to["losses"] = "python -m alignlab.analyze models=[MODEL], which counts the model itself"
    how_to["overlaps"] = f"python -m alignlab.analyze {asked} analyses=[language_overlap]"
    question = "" if config.run else config.document
    shown, note = config.show_languages, config.labels.note
    return PageOf(name, folder, identifier, options, how_to, question, config.by_step, shown, note)


def _short(source: str) -> str:
    return Path(source).name


def _show_asked(results: Results) -> None:
    """The numbers of the analyses that were asked by name, so many as can be read on a terminal."""
    for asked in results.asked:
        console.say()
        console.heading(f"{capital(asked.analysis.replace('_', ' '))}: {asked.shows}")
        for sentence in asked.said:
            console.note(sentence)
        shown = asked.lines[: _MOST_TELLING if asked.said else _MOST_LINES]
        if asked.lines:
            header = asked.header
            console.table(shown, header, "l" + "r" * (len(header) - 1), keep=1)
        else:
            console.say("no numbers: the records have none that answer it")
        if len(asked.lines) > len(shown):
            console.say(f"and {len(asked.lines) - len(shown)} more: {results.folder / 'table.csv'}")


def _show_texts(results: Results) -> None:
    """What drives neurons, so much as can be read on a terminal."""
    if results.texts is None:
        return
    console.say()
    console.heading("Texts that drive neurons")
    lines = terminal_lines(results.texts)
    console.table(lines[:_MOST_LINES], TERMINAL_HEADER, "llrll")
    console.note(terminal_note(results.texts))
    if len(lines) > _MOST_LINES:
        console.say(f"and {len(lines) - _MOST_LINES} more: {results.folder / TEXTS_FILE}")


def show_results(config: AnalyzeConfig, results: Results) -> None:
    """Print the numbers asked for by name, then the tables, the paths and the next command."""
    first, last = results.first, results.last
    _show_asked(results)
    _show_texts(results)
    if first is not last:
        console.say()
        how = "by kind at each record, at the thresholds of the first" if last.result.has_degree else "at each record"
        console.heading(f"Neurons {how}")
        header = ("record", *kinds_counted(last), *LINE_LOSSES)
        console.table(results.lines, header, "l" + "r" * (len(header) - 1))
    console.say()
    console.heading(table_title(last))
    console.table(*table_of(last))
    console.note(table_note(last, first.label))
    if results.lead:
        console.note(f"{results.lead} Intervals, both verdicts and what they mean are on the page and in table.csv.")
    if config.show_languages is not None:
        names = " ".join(config.show_languages)
        console.note(f"note: table.csv and the page show {names} of {len(last.result.languages)} languages")
    if config.classify_languages is not None:
        names = " ".join(last.result.languages)
        console.note(f"note: classified on {names} alone, as if no other language had been counted")
    if last.result.reason:
        console.note(f"note: {last.result.reason}")
    if not last.result.has_degree:
        console.say()
        console.heading(f"Neurons of each language in {last.label}, by site")
        sizes = [[site, *(f"{size:,}" for size in sets.sizes().values())] for site, sets in results.sets.items()]
        codes = last.result.languages
        console.table(sizes, ("site", *codes), "l" + "r" * len(codes), keep=1)
    console.say()
    console.heading("Written")
    page = f"{results.folder / 'report.html'} (opens in a browser, offline)"
    if not last.result.has_degree:
        page = f"none: it shows kinds, and {last.result.identifier} finds sets only"
    wandb = [("W&B", results.wandb)] if results.wandb is not None else []
    stored = "which text drives neurons" if results.texts and results.texts.has_text else "where neurons are driven"
    texts = [("texts", f"{results.folder / TEXTS_FILE} ({stored})")] if results.texts is not None else []
    console.table(
        [
            ("numbers", f"{results.folder / 'table.csv'} (all analyses, one tidy table)"),
            ("sets", f"{results.folder / 'sets.safetensors'} (neurons of each language in {last.label})"),
            *(("", f"{results.folder / _file_of(site)}") for site in [*results.sets][1:]),
            *texts,
            ("page", page),
            ("question", str(results.folder / "config.yaml")),
            *wandb,
        ]
    )
    source = f"run={config.run}" if config.run else f"config={results.folder / 'config.yaml'}"
    other = "lape" if "lambda" in last.result.thresholds else "ternary"
    console.say(f"\nNext: ask otherwise, e.g. python -m alignlab.analyze {source} identifier.name={other}")
