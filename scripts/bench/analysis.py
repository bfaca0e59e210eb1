"""Analysing the snapshots of a long run and showing them: seconds, memory and bytes. There is no peer to run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.options import USUAL
from alignlab.analysis.records import StoredCounts
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.table import csv_text
from alignlab.reporting.page import write_page
from alignlab.reporting.page_run import PageOf
from bench.measuring import Row, Scale, peak_gigabytes, seconds
from bench.neurons import by, make_counts

LANGUAGES = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "th", "zh")
TRAINED = ("de", "fr", "zh")
SHAPE = (len(LANGUAGES), 20, 32, 14336)
FILES = 4  # of 275 MB, which the snapshots read in turn: a hundred would fill a disk
DRIFT = 0.1  # times the file's number: standard deviation of a logit's distance from the base's, in each language
EARLY = 10  # snapshots after which memory should have grown to what it is at the end


def hundred_snapshots(scale: Scale) -> list[Row]:
    """Reclassified by all usual analyses, then shown on a page; each once, as one round takes minutes."""
    shape = (*SHAPE[:3], SHAPE[3] // scale.part)
    with TemporaryDirectory() as name:
        folder = Path(name)
        # In another process: what it takes to make the counts would hide what it takes to read them.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            paths = pool.submit(write_counts, folder, shape).result()
        page = PageOf("benchmark", folder, "ternary", TernaryConfig().model_dump(exclude={"name"}))
        records = [record(paths, step) for step in range(scale.snapshots)]
        return [reclassified(records, page, folder / "table.csv", shape), rendered(page, folder / "report.html")]


def reclassified(records: Sequence[StoredCounts], page: PageOf, table: Path, shape: Sequence[int]) -> Row:
    """Each record read, classified and analysed, its rows written: what `alignlab.analyze` does, with its memory."""
    peaks: list[float] = []
    start = time.perf_counter()
    with table.open("w", encoding="utf-8", newline="") as file:
        for view, rows in Inquiry(TernaryConfig(), USUAL).over(records):
            file.write(csv_text(rows, header=not peaks))
            page.add(view, rows)
            peaks.append(peak_gigabytes())
    taken, number = time.perf_counter() - start, len(records)
    early, late = peaks[EARLY - 1], peaks[-1]
    return Row(
        f"(g) {number} snapshots reclassified, {by(shape)}",
        taken,
        goal="3 s a snapshot, memory 1.05 times",
        note=f"{taken / number:.2f} s a snapshot; peak {early:.2f} GB after {EARLY}, {late:.2f} GB after all: "
        f"{late / early:.2f} times",
    )


def rendered(page: PageOf, path: Path) -> Row:
    """The page of what was collected, with its size, and what was left out for that size."""
    taken = seconds(lambda: write_page([page.page()], path))
    size, thinned = path.stat().st_size / 1e6, re.search(r"shown at \d+ of \d+ snapshots", path.read_text("utf-8"))
    shown = f"layers {thinned[0]}" if thinned else "layers shown at all snapshots"
    return Row("(g') page of these snapshots", taken, goal="6 MB", note=f"{size:.2f} MB, {shown}")


def record(paths: Sequence[Path], step: int) -> StoredCounts:
    """A snapshot that is read from disk: the first file is the base, the others stand for all that follow, in turn."""
    path = paths[0] if step == 0 else paths[1 + step % (len(paths) - 1)]

    def read(path: Path) -> ActivationCounts:
        forget(path)
        return replace(ActivationCounts.load(path), step=step)

    return StoredCounts(f"step {step}", path, read)


def forget(path: Path) -> None:
    """Drop the file from the system's cache, where the system can be asked to: a run's snapshots would not be in it."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_counts(folder: Path, shape: tuple[int, int, int, int]) -> list[Path]:
    """Counts of one model as it moves away from its base, in files as a tracker leaves them, losses included."""
    base, rng = make_counts(*shape), np.random.default_rng(1)
    paths = [folder / f"counts-{number}.safetensors" for number in range(FILES)]
    for number, path in enumerate(paths):
        drifted(base, DRIFT * number, 2 - 0.1 * number, rng).save(path)
    return paths


def drifted(base: ActivationCounts, by_logit: float, loss: float, rng: np.random.Generator) -> ActivationCounts:
    """The counts of the same texts after every logit moved; shards keep their noise, as the texts are the same."""
    old, tokens, documents = base.firings.numpy(), int(base.tokens[0, 0]), int(base.documents[0, 0])
    firings = np.empty_like(old)
    for language, of_language in enumerate(old):
        p = of_language.mean(axis=0) / tokens
        shift = tokens * p * (1 - p) * by_logit * rng.standard_normal(p.shape)
        firings[language] = np.rint(of_language + shift).clip(0, tokens)
    # Of documents of equal length whose tokens fire apart from each other, those in which a neuron fires at all.
    silent = (1 - np.arange(tokens + 1) / tokens) ** (tokens / documents)
    in_documents = np.rint(documents * (1 - silent)).astype(np.uint8)[firings]
    return replace(
        base,
        languages=LANGUAGES,
        trained_languages=TRAINED,
        firings=torch.from_numpy(firings),
        document_firings=torch.from_numpy(in_documents),
        loss_sum=base.tokens * torch.tensor(loss, dtype=torch.float64),
        loss_tokens=base.tokens,
    )
