"""A grid of runs, or a suite of models, as options."""

from __future__ import annotations

from typing import Any, Literal

from alignlab.config import REQUIRED, Options, option, section
from alignlab.options import check_folder, check_name

Verb = Literal["analyze", "evaluate", "intervene"]
Prepared = Literal["responses", "preferences"]
Expectation = Literal["rises", "falls", "nothing"]


class PlaceOptions(Options):
    """Where the study is kept."""

    name: str = option("study", "name of the study, without secrets", check=check_name)
    root: str = option("studies", "folder in which the folder of that name is", check=check_folder)


class CellOptions(Options):
    """What every cell is."""

    config: str | None = option(
        None,
        "shipped config or file of alignlab.train; where there are `models` of alignlab.analyze, by which they are "
        "counted, and null takes its defaults",
    )
    set: dict[str, Any] = option({}, "what is set over that config; keys may be nested or dotted")


class BeforeOptions(Options):
    """What is prepared once, before the first cell."""

    prepare: Prepared = option(REQUIRED, "what alignlab.prepare makes")
    config: str | None = option(None, "its shipped config or file; null takes its defaults")
    set: dict[str, Any] = option({}, "what is set over that config; keys may be nested or dotted")


class ThenOptions(Options):
    """What is asked of a cell that has been trained, or counted."""

    verb: Verb = option(REQUIRED, "the command that asks it")
    config: str | None = option(None, "its shipped config or file; null takes its defaults")
    set: dict[str, Any] = option({}, "what is set over that config; keys may be nested or dotted")
    levels: dict[str, list[str]] = option({}, "only cells of these levels, by axis; {} takes all")


class ClaimOptions(Options):
    """A sentence about the cells, such as a paper has, and the numbers that tell for or against it."""

    title: str = option(REQUIRED, "heading of its section")
    says: str = option(REQUIRED, "what is claimed, and where")
    source: str = option(REQUIRED, "of what the numbers are told: neurons, capability, or a name in `then`")
    measure: str = option(
        REQUIRED, "column `measure` of study.csv, such as right or specific neurons; * is any text: several measures"
    )
    task: str | None = option(None, "column `task`; null takes any")
    set: str | None = option("", "column `set`: of which neurons; empty for numbers of none, null takes any")
    control: str = option("", "column `control`: matched, random, or empty for the set itself")
    what: Literal["value", "change", "difference"] = option(
        "change", "value at the end; change since the beginning; difference from the baseline"
    )
    groups: list[str] = option(["trained", "unseen"], "groups, or codes of languages")
    levels: dict[str, list[str]] = option({}, "only cells of these levels, by axis; {} takes all")
    by_layer: bool = option(False, "of every layer apart, where the numbers have layers")
    expect: Expectation | None = option(
        "rises",
        "the claim: above 0, below 0, or no more than noise, which can be refuted and never shown; null claims nothing "
        "and shows the numbers",
    )


class StudyOptions(Options):
    """A grid of runs, or a suite of models."""

    dry_run: bool = option(False, "check every cell, print the plan and stop")
    study: PlaceOptions = section(PlaceOptions, "where the study is kept")
    cell: CellOptions = section(CellOptions, "what every cell is")
    axes: dict[str, dict[str, dict[str, Any]]] = option(
        {}, "the grid: by axis and level what is set over the cell's config; {} sets nothing. Each level meets each"
    )
    seeds: list[int] = option(
        [0], "seeds of the training: every combination of levels is trained once with each", check=lambda s: _seeds(s)
    )
    skip: list[dict[str, str]] = option(
        [], "cells that are left out: each entry names levels by axis (and seed), and leaves out all that have them"
    )
    models: list[str] = option(
        [],
        "instead of axes and seeds: folders or Hub ids, each with @revision where one is meant, which are counted and "
        "asked `then`, not trained",
    )
    before: dict[str, BeforeOptions] = section(
        {},
        "what is prepared once for all cells, in this order, by your own names; what NAME makes lies in "
        "${study.root}/${study.name}/before/NAME, which other keys may name so",
    )
    then: dict[str, ThenOptions] = section({}, "what is asked of finished cells, in this order, by your own names")
    claims: dict[str, ClaimOptions] = section(
        {}, "sentences that the page sets beside what was found, a section each, by your own names"
    )
    baseline: dict[str, str] = option(
        {}, "levels by axis that others are compared with, paired by the other axes and the seed; {} compares none"
    )
    jobs: int | None = option(
        None, "processes side by side; null: as many as devices, else 1", unit="processes", ge=1, le=1024
    )
    devices: list[str] = option(
        [],
        "GPUs given to processes in turn, by CUDA_VISIBLE_DEVICES, such as [0, 1] or ['0,1', '2,3']; [] leaves it",
        check=lambda names: _devices(names),
    )
    retry: Literal["nothing", "failed"] = option("nothing", "failed: begin again what has failed, from where it was")


def _seeds(seeds: list[int]) -> str | None:
    good = seeds and len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)
    return None if good else "one seed or more, from 0 and below 2^32, each once"


def _devices(names: list[str]) -> str | None:
    parts = [part.strip() for name in names for part in name.split(",")]
    good = all(part and "=" not in part for part in parts) and len(set(parts)) == len(parts)
    return None if good else "numbers of GPUs, such as [0, 1], each once"
