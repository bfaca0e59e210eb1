"""The cells of a study: every combination of levels with every seed, or every model of a suite, by name."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from alignlab.config import COMMAND_LINE
from alignlab.errors import Problem, refuse_any
from alignlab.redaction import hide
from alignlab.studying.claim_checks import claim_problems, level_problems
from alignlab.studying.options import StudyOptions

MOST_CELLS = 10_000
SEED, MODEL = "seed", "model"
JOIN = "+"
_LONGEST = 200  # bytes of the name of a cell's folder
_AXIS = re.compile(r"[a-zA-Z]\w{0,40}")
_LEVEL = re.compile(r"\w[\w.,=@-]*")
_STEP = re.compile(r"\w[\w-]*")
# What a study sets itself, or what says how a command is run.
OWN_KEYS = ("dry_run", "resume", "overwrite", "run", "seed")
# Columns of the table beside which the axes stand, and the files of a cell.
RESERVED_COLUMNS = (
    "cell", SEED, "source", "record", "step", "since", "group", "language", "other", "layer", "measure", "task",
    "set", "operation", "strength", "control", "label", "value", "unit", "denominator", "se", "status",
)  # fmt: skip
TRAIN, COUNTS = "run", "counts"

Origins = Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """What is set over a config: a dotted key, its value, and where that was written."""

    key: str
    value: Any
    where: str


@dataclass(frozen=True, eq=False)
class Cell:
    """One run, or one model of a suite.

    name: of its folder.  levels: of the axes, in their order.  seed: of the training; None in a suite.
    settings: what its levels set.  model: of a suite, the folder or Hub id, and its revision if one is named.
    """

    name: str
    levels: tuple[str, ...]
    seed: int | None
    settings: tuple[Setting, ...] = ()
    model: tuple[str, str | None] | None = None


@dataclass(frozen=True)
class Grid:
    """All cells, in the order in which they are begun: all combinations with the first seed, then with the next."""

    axes: tuple[str, ...]
    cells: tuple[Cell, ...]
    skipped: int

    def baseline_of(self, cell: Cell, baseline: Mapping[str, str]) -> tuple[str, ...] | None:
        """The levels of the cell that one is compared with; None for the baseline's own, and where there is none."""
        if not baseline:
            return None
        levels = tuple(baseline.get(axis, level) for axis, level in zip(self.axes, cell.levels, strict=True))
        return None if levels == cell.levels else levels


def settings_of(given: Mapping[str, Any], key: str, origins: Origins, problems: list[Problem]) -> list[Setting]:
    """What is set at a key of the study's config, value by value; what cannot be is added to the problems.

    What the command line sets takes the place of what a file sets of the same key, dotted or nested.
    """
    found: dict[str, Setting] = {}
    for path, value in _leaves(given):
        where = origins.get(f"{key}.{path}", origins.get(key, key))
        told = f"{where}: {key}.{path}" if where != key else f"{key}.{path}"
        clashes = [one for one in found if _one_of_two(one, path)]
        if not all(path.split(".")):
            problems.append(Problem(told, "a key with an empty part", "dotted keys, such as trainer.max_steps"))
        elif clashes and where != COMMAND_LINE:
            problems.append(Problem(told, f"{clashes[0]} is set here too", "each key once"))
        else:
            found = {one: setting for one, setting in found.items() if one not in clashes}
            # The key says more of where than that somebody has typed it.
            found[path] = Setting(path, value, where if where != COMMAND_LINE else f"{key}.{path}")
    return list(found.values())


def _leaves(given: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        path = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _one_of_two(one: str, other: str) -> bool:
    """Whether two dotted keys set the same value, or one a part of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def own_key_problems(settings: Sequence[Setting], *, but: Sequence[str] = ()) -> list[Problem]:
    """Settings of what a study sets itself."""
    fixes = {"seed": "Write seeds: [0, 1] at the top.", "run": "A cell is named by its levels."}
    return [
        Problem(
            one.where, f"{one.key} is set, which a study sets itself", "other keys", fixes.get(top, "Leave it out.")
        )
        for one in settings
        if (top := one.key.partition(".")[0]) in OWN_KEYS and top not in but
    ]


def grid_of(options: StudyOptions, origins: Origins) -> Grid:
    """The cells of a study. Raises InputError for all that is wrong with names, axes and levels."""
    problems = _name_problems(options, origins)
    if options.models:
        axes: tuple[str, ...] = (MODEL,)
        cells, skipped = _suite(options.models, origins, problems), 0
        names = [cell.name for cell in cells]
        problems += [
            Problem(_at(origins, "baseline"), f"there is no model {name!r}", f"one of: {', '.join(names)}")
            for axis, name in options.baseline.items()
            if axis == MODEL and name not in names
        ]
    else:
        axes = tuple(options.axes)
        cells, skipped = _combined(options, origins, problems)
    if not cells and not problems:
        problems.append(Problem(_at(origins, "skip"), "every cell is skipped", "one cell or more"))
    refuse_any(problems)
    return Grid(axes, tuple(cells), skipped)


def asked_problems(options: StudyOptions, origins: Origins) -> list[Problem]:
    """What entries of `then` and claims ask of axes, levels and sources that are not there."""
    axes = {MODEL: [cell.name for cell in _suite(options.models, origins, [])]} if options.models else options.axes
    problems = []
    for name, asked in options.then.items():
        problems += level_problems(axes, asked.levels, _at(origins, f"then.{name}.levels"))
    return problems + claim_problems(options, axes, {name: _at(origins, f"claims.{name}") for name in options.claims})


def _at(origins: Origins, key: str) -> str:
    where = origins.get(key, "default")
    return key if where == "default" else f"{where}: {key}"


def _name_problems(options: StudyOptions, origins: Origins) -> list[Problem]:
    problems = []
    if options.models:
        problems += [
            Problem(_at(origins, key), "set beside models", "one of the two", "Leave one out.")
            for key in ("axes", "skip")
            if getattr(options, key)
        ]
        if "seeds" in origins and origins["seeds"] != "default":
            problems.append(Problem(_at(origins, "seeds"), "set beside models, which are not trained", "no seeds"))
    for axis, levels in options.axes.items():
        where = _at(origins, f"axes.{axis}")
        if not _AXIS.fullmatch(axis) or axis in RESERVED_COLUMNS:
            expected = (
                f"a letter, then letters, digits and _, and none of the table's columns ({', '.join(RESERVED_COLUMNS)})"
            )
            problems.append(Problem(where, f"the axis is called {axis!r}", expected))
        if not levels:
            problems.append(Problem(where, "it has no levels", "one or more, such as zh: {data.train.languages: [zh]}"))
        for level in levels:
            problems += _level_problems(_at(origins, f"axes.{axis}.{level}"), level)
        problems += [
            Problem(where, f"the levels {names} would share a folder", "names that differ in more than case")
            for names in _alike(levels)
        ]
    axes = (MODEL,) if options.models else tuple(options.axes)
    for entry in options.skip:
        problems += _entry_problems(_at(origins, "skip"), entry, options)
        if not entry:
            problems.append(Problem(_at(origins, "skip"), "an empty entry, which would skip all", "levels by axis"))
    if not options.models:
        problems += _entry_problems(_at(origins, "baseline"), options.baseline, options, seed=False)
    else:
        problems += [
            Problem(_at(origins, "baseline"), f"{key!r} is no axis", "model: one of the models")
            for key in options.baseline
            if key not in axes
        ]
    for name, where in [
        *((name, _at(origins, f"before.{name}")) for name in options.before),
        *((name, _at(origins, f"then.{name}")) for name in options.then),
    ]:
        if not _STEP.fullmatch(name) or name in (TRAIN, COUNTS) or hide(name) != name or len(name.encode()) > 100:
            expected = f"letters, digits, _ and -, no secret, and neither {TRAIN} nor {COUNTS}"
            problems.append(Problem(where, f"it is called {name[:100]!r}", expected))
    problems += [
        Problem(_at(origins, key), f"the names {names} would share a folder", "others")
        for key, steps in (("before", list(options.before)), ("then", list(options.then)))
        for names in _alike(steps)
    ]
    return problems


def _level_problems(where: str, level: str) -> list[Problem]:
    if not _LEVEL.fullmatch(level):
        expected = "a letter, digit or _, then these and any of . , = @ -"
        return [Problem(where, f"a level is called {level[:100]!r}, and folders are called so", expected)]
    if hide(level) != level:
        return [Problem(where, "the name of a level holds a secret", "a name, which is written and shown")]
    return []


def _alike(names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Names that a file system may take for one."""
    same = defaultdict(list)
    for name in names:
        same[unicodedata.normalize("NFC", name).casefold()].append(name)
    return [" and ".join(map(repr, group)) for group in same.values() if len(group) > 1]


def _entry_problems(where: str, entry: Mapping[str, str], options: StudyOptions, *, seed: bool = True) -> list[Problem]:
    known = {axis: list(levels) for axis, levels in options.axes.items()}
    known |= {SEED: list(map(str, options.seeds))} if seed else {}
    return level_problems(known, {axis: [level] for axis, level in entry.items()}, where)


def _combined(options: StudyOptions, origins: Origins, problems: list[Problem]) -> tuple[list[Cell], int]:
    """Every combination of levels with every seed, but for those that are skipped; and how many these are."""
    number = len(options.seeds)
    for levels in options.axes.values():
        number *= len(levels)
    if number > MOST_CELLS:
        problems.append(Problem(_at(origins, "axes"), f"{number:,} cells", f"at most {MOST_CELLS:,}"))
        return [], 0
    by_level: dict[tuple[str, str], list[Setting]] = {}
    for axis, levels in options.axes.items():
        for level, given in levels.items():
            by_level[axis, level] = settings_of(given, f"axes.{axis}.{level}", origins, problems)
            problems += own_key_problems(by_level[axis, level])
    problems += _clashes(by_level)
    cells, skipped = [], 0
    for seed in options.seeds:
        for levels_of_cell in product(*options.axes.values()):
            named = dict(zip(options.axes, levels_of_cell, strict=True)) | {SEED: str(seed)}
            if any(all(named.get(axis) == level for axis, level in entry.items()) for entry in options.skip):
                skipped += 1
                continue
            settings = [one for pair in zip(options.axes, levels_of_cell, strict=True) for one in by_level[pair]]
            name = JOIN.join([*levels_of_cell, f"{SEED}{seed}"])
            cells.append(Cell(name, tuple(levels_of_cell), seed, tuple(settings)))
    longest = max((cell.name for cell in cells), key=lambda name: len(name.encode()), default="")
    if len(longest.encode()) > _LONGEST:
        found = f"the cell {longest[:80]} ... has a name of {len(longest.encode())} bytes"
        problems.append(Problem(_at(origins, "axes"), found, f"at most {_LONGEST}", "Name levels more shortly."))
    return cells, skipped


def _clashes(by_level: Mapping[tuple[str, str], Sequence[Setting]]) -> list[Problem]:
    """Keys that levels of two axes set: one would silently undo the other."""
    problems: dict[tuple[str, str, str], Problem] = {}
    keys = [(axis, level, one) for (axis, level), settings in by_level.items() for one in settings]
    by_top = defaultdict(list)
    for axis, level, one in keys:
        by_top[one.key.partition(".")[0]].append((axis, level, one))
    for group in by_top.values():
        for place, (axis, level, one) in enumerate(group):
            for other_axis, other_level, other in group[:place]:
                if axis != other_axis and _one_of_two(one.key, other.key):
                    found = f"axes.{axis}.{level} sets {one.key}, and axes.{other_axis}.{other_level} {other.key}"
                    fix = "Set it in the levels of one axis, or make one axis of the two."
                    key = (axis, other_axis, one.key)
                    problems.setdefault(key, Problem(one.where, found, "axes that set different keys", fix))
    return list(problems.values())


def _suite(models: Sequence[str], origins: Origins, problems: list[Problem]) -> list[Cell]:
    where, cells = _at(origins, "models"), []
    for text in models:
        source, at, revision = text.partition("@") if not text.startswith(("/", ".", "~")) else (text, "", "")
        if not source or (at and not revision) or "@" in revision:
            problems.append(
                Problem(where, f"{text!r}", "a folder or Hub id, with @revision behind it where one is meant")
            )
            continue
        if hide(text) != text:
            problems.append(Problem(where, f"{hide(text)}: it holds a secret", "a name, which is written and shown"))
            continue
        short = "-".join(part for part in re.split(r"[^\w.,=@-]+", text) if part.strip("."))
        name = short.lstrip("-.,=@")[-_LONGEST:].lstrip("-.,=@")
        if not _LEVEL.fullmatch(name) or len(name.encode()) > _LONGEST:
            problems.append(Problem(where, f"no folder can be named after {text!r}", "a shorter, plain name"))
            continue
        cells.append(Cell(name, (name,), None, (), (source, revision or None)))
    problems += [
        Problem(where, f"the models {names} would share a folder", "models, each once")
        for names in _alike([cell.name for cell in cells])
    ]
    return cells
