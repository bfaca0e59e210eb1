"""The benchmark of identifiers: planned, measured seed by seed, kept and told."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alignlab import console
from alignlab.atomic import write_text
from alignlab.begun_folder import Start
from alignlab.benchmarking.folder import BenchmarkFolder
from alignlab.benchmarking.measuring import measure, settings_of
from alignlab.benchmarking.options import IdentifiersOptions, plain
from alignlab.benchmarking.page import page_of
from alignlab.benchmarking.planting import check, language_names, planted_number
from alignlab.benchmarking.rankings import identifier_at
from alignlab.benchmarking.results import over_seeds, tables
from alignlab.config import to_plain, to_yaml
from alignlab.environment import environment
from alignlab.errors import refuse_any
from alignlab.neurons.identifiers import IDENTIFIERS, size_problems
from alignlab.neurons.table import Row, read_csv, write_csv
from alignlab.redaction import hide_all
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings

# Part of what a folder was begun with: raise it when the numbers of a seed change.
VERSION = 1


def run(options: IdentifiersOptions) -> None:
    """Plan, measure the seeds that are missing, and say what was found."""
    check_settings(to_plain(options), ("folder",))
    benchmark = Benchmark(options)
    benchmark.check()
    with ExitStack() as held:
        folder = benchmark.folder
        check_writable(folder.path, "folder")
        folder.check_ours()  # before the lock, which would leave a file in somebody else's folder
        if not options.dry_run:
            held.enter_context(folder.locked())
        start = folder.start(benchmark.document)
        console.heading("Plan of the benchmark of identifiers")
        console.table([*benchmark.plan, ("seeds", benchmark.said_seeds(start)), ("folder", str(folder.path))])
        if options.dry_run:
            console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
            return
        if start == "finished":
            folder.clear_parts()  # where it was killed as it did so
            console.say(f"\n{folder.path} holds this benchmark, all of it. Name another folder to run it again.")
        else:
            benchmark.measure(start)
        benchmark.show()


@dataclass
class Benchmark:
    """What is benchmarked, as configured."""

    options: IdentifiersOptions

    @cached_property
    def folder(self) -> BenchmarkFolder:
        return BenchmarkFolder(Path(self.options.folder).expanduser())

    @cached_property
    def seeds(self) -> range:
        return range(self.options.first_seed, self.options.first_seed + self.options.seeds)

    @property
    def document(self) -> str:
        """The config as YAML, without secrets; whether it was a dry run is no part of it."""
        return to_yaml(self.options.model_copy(update={"dry_run": False}), hide_all)

    def check(self) -> None:
        """Refuse what cannot be built, or found, before anything is. Raises InputError."""
        options = self.options
        check(options.planted)
        neurons = options.planted.layers * options.planted.neurons
        given = {name: settings_of(options, name) for name in options.identifiers if name in IDENTIFIERS}
        refuse_any([one for name in given for one in size_problems(identifier_at(name, given[name]), neurons)])

    @cached_property
    def plan(self) -> list[tuple[str, str]]:
        """Terms and values."""
        planted, text = self.options.planted, self.options.text
        names = language_names(planted)
        neurons = planted.layers * planted.neurons
        said = [
            ("languages", f"{' '.join(names)}; a letter is a family"),
            ("neurons", f"{planted.layers} layers of {planted.neurons:,}; {planted_number(planted):,} are planted"),
            ("of a language", f"{planted.specific} specific, {planted.idle} idle, {planted.hidden} hidden"),
            ("shared", f"{planted.family} of each family, {planted.pairs} of pairs, {planted.general} general"),
            ("texts", f"{text.documents:,} documents a language of {text.tokens} tokens"),
            ("truth", f"each of {neurons:,} neurons removed, on {text.truth_documents} other documents a language"),
        ]
        for name in self.options.identifiers:
            given = plain(settings_of(self.options, name).items())
            said.append((name, given or ("its defaults" if name in IDENTIFIERS else "control")))
        return said

    def said_seeds(self, start: Start) -> str:
        done = sum(self.folder.kept(seed) is not None for seed in self.seeds) if start == "continue" else 0
        ends = f"{self.seeds[0]} to {self.seeds[-1]}, a model each with its controls"
        return f"{ends}; {done} done" if done else ends

    def measure(self, start: Start) -> None:
        """Measure the seeds that are not done yet, and write what all of them give."""
        folder, made_from = self.folder, {**environment(), "version": VERSION}
        if start == "new":
            folder.begin(self.document, made_from)
        else:
            for line in folder.check_continued(made_from):
                console.say(f"note: {line}")
        planted, text = self.options.planted, self.options.text
        cells = (planted.layers * planted.neurons + 1) * text.truth_documents * len(language_names(planted))
        rows: list[Row] = []
        with console.progress("Removing neurons", cells * len(self.seeds)) as advance:
            for seed in self.seeds:
                kept = folder.kept(seed)
                if kept is None:
                    if folder.parts.part(seed).is_file():
                        console.say(f"note: {folder.parts.part(seed)} is damaged; its seed is measured again")
                    folder.keep(seed, measure(self.options, seed, advance))
                    kept = folder.kept(seed)
                    assert kept is not None
                else:
                    advance(cells, kept=True)
                rows += kept
        found = over_seeds(rows)
        write_csv(folder.by_seed, rows)
        write_csv(folder.table, found)
        about = f"{len(self.seeds)} models with planted neurons, seeds {self.seeds[0]} to {self.seeds[-1]}."
        write_text(folder.page, page_of(found, about, self.plan, self.document))
        folder.end()

    def show(self) -> None:
        """Print the tables, what was written and the next command."""
        folder = self.folder
        for shown in tables(read_csv(folder.table)):
            console.say()
            console.heading(shown.title)
            console.table(shown.lines, shown.header, "l" + "r" * (len(shown.header) - 1))
            console.note(shown.note)
        console.say()
        console.heading("Written")
        console.table(
            [
                ("numbers", f"{folder.table} (means over seeds, intervals, chance)"),
                ("by seed", str(folder.by_seed)),
                ("page", f"{folder.page} (opens in a browser, offline)"),
            ]
        )
        console.say(
            "\nNext: other models, e.g. python -m alignlab.benchmark identifiers bar=0.9 folder=benchmarks/bar_0.9"
        )
