"""Measure the speed that a user feels, beside peers, in one run: `make bench`.

Each section is a process of its own, so that its peak memory is its own; a pair is timed in turn within one process.
What is measured is in `scripts/bench/`; BENCHMARKS.md says what it means, and holds the table that this prints.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from importlib.metadata import version
from multiprocessing import get_context

from bench.measuring import Row, Scale, peak_gigabytes

SECTIONS = {
    "a": ("bench.counting", "against_headless"),
    "b": ("bench.counting", "against_two_passes"),
    "c": ("bench.counting", "against_nnsight"),
    "d": ("bench.neurons", "ternary_of_seven_billion"),
    "e": ("bench.neurons", "ternary_of_fifty_languages"),
    "f": ("bench.neurons", "bootstrap_of_seven_billion"),
    "g": ("bench.analysis", "hundred_snapshots"),
    "h": ("bench.passing", "against_fifteen_lines"),
    "i": ("bench.training", "against_trl"),
    "j": ("bench.training", "against_trl_on_pairs"),
    "k": ("bench.interventions", "matrix"),
    "l": ("bench.interventions", "answers"),
    "m": ("bench.counting_on_gpu", "on_gpu"),
}
COLUMNS = ("what", "ours, s", "peer", "peer, s", "peer / ours", "goal", "peak, GB", "note")


def main() -> None:
    """Measure the sections asked for and print their rows."""
    options = parse()
    scale = Scale(rounds=options.rounds, device=options.device, folders=tuple(options.texts))
    if options.quick:
        scale = Scale(
            rounds=1, texts=20, hidden=128, part=16, snapshots=12, device=options.device, folders=scale.folders
        )
    print(
        f"{processor()}, {os.cpu_count()} CPUs, torch {version('torch')}, transformers {version('transformers')}, ",
        end="",
    )
    print(f"medians of {scale.rounds}{', quick: figures mean nothing' if options.quick else ''}\n")
    print_line(COLUMNS)
    print_line("---" for _ in COLUMNS)
    for section in options.only:
        for row, peak in measured_apart(section, scale):
            print_line(cells(row, peak))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=letters, default=list(SECTIONS), help="sections, such as a,c; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each section (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a small scale, to see that everything runs")
    parser.add_argument("--device", default="cpu", help="where models run; cuda: 7 B parameters (default: cpu)")
    parser.add_argument(
        "--texts",
        action="append",
        default=[],
        metavar="FOLDER",
        help="real texts for section h, a row a folder: <language>.txt, or .tsv, text first (default: made up)",
    )
    return parser.parse_args()


def letters(text: str) -> list[str]:
    """Sections of a list such as a,c."""
    asked = text.split(",")
    if not set(asked) <= set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{text!r}; sections are {','.join(SECTIONS)}")
    return asked


def measured_apart(section: str, scale: Scale) -> list[tuple[Row, float | None]]:
    """The section's rows and its peak memory, from a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            rows, peak = pool.submit(measured, section, scale).result()
        except BrokenProcessPool:
            return [(Row(f"({section})", note="its process was ended; was there too little memory?"), None)]
    return [(row, peak) for row in rows]


def measured(section: str, scale: Scale) -> tuple[list[Row], float]:
    """The section's rows and the peak memory of this process. Runs there, so that only it imports torch."""
    module, function = SECTIONS[section]
    rows: list[Row] = getattr(import_module(module), function)(scale)
    return rows, peak_gigabytes()


def cells(row: Row, peak: float | None) -> tuple[str, ...]:
    """A row as text; a figure that there is none of stays empty."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    times = ["" if value is None else f"{value:.2f}" for value in (row.ours, row.theirs)]
    memory = "" if peak is None or row.ours is None else f"{peak:.2f}"
    return (row.what, times[0], row.peer, times[1], ratio, row.goal, memory, row.note)


def print_line(values: Iterable[str]) -> None:
    """A line of a Markdown table."""
    print("|", " | ".join(values), "|", flush=True)


def processor() -> str:
    """What the machine computes with."""
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
