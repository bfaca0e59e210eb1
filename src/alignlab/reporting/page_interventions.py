"""From the folders of a run's interventions to what the page shows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from alignlab.begun_folder import BegunFolder
from alignlab.console import plain
from alignlab.errors import InputError, Problem
from alignlab.manifest import kind_of, listed, verify
from alignlab.neurons.table import Row, read_csv
from alignlab.regular_files import read_regular
from alignlab.reporting.arm_answers import read_samples
from alignlab.reporting.page.arm_answers import PageAnswers
from alignlab.reporting.page.interventions import PageIntervention
from alignlab.reporting.wording import joined

KIND = "interventions"
_FIX = "Restore it from a copy, or move the folder away to have the page without it."


def read_interventions(run: Path) -> tuple[list[PageIntervention], list[str]]:
    """What was done to a run's model, by folder in the order of their names; and a note for each that is not finished.

    Folders of other kinds are somebody else's, and left alone. Raises InputError for files that are damaged.
    """
    found, notes = [], []
    for folder in sorted(path for path in (run / "interventions").glob("*") if path.is_dir()):
        if kind_of(folder) != KIND:
            continue
        if BegunFolder(folder).is_finished:
            found.append(_read(folder))
        else:
            notes.append(f"Interventions {plain(folder.name)} are not shown: they are not finished.")
    return found, notes


def _read(folder: Path) -> PageIntervention:
    if faults := verify(folder, deep=False):
        raise InputError(*(Problem(str(folder), fault, "the file that was written", _FIX) for fault in faults))
    config = _config(folder)
    identifier = {name: value for name, value in (config.get("identifier") or {}).items() if value is not None}
    name = identifier.pop("name", "")
    options = ", ".join(f"{key.strip('_')} {value}" for key, value in identifier.items())
    whole = config.get("neurons") is None
    about = _about(folder)
    return PageIntervention(
        name=plain(folder.name),
        table=plain(str(folder / "table.csv")),
        rows=_rows(folder / "table.csv"),
        neurons=plain(", ".join(_kinds_of_sets(about))),
        found_by=plain(f"{name} ({options})" if options else str(name)) if whole else "",
        seeds=config.get("seeds"),
        same_documents=config.get("same_documents") is True,
        answers=_answers(folder, about),
        general=_general(about),
    )


def _rows(path: Path) -> list[Row]:
    """The table, with control characters in names of sets made visible; nearly all have none."""
    try:
        rows = read_csv(path)
    except UnicodeDecodeError as error:
        raise _damaged(path, error) from None
    names = {name: plain(name) for name in {row.set for row in rows}}
    return [row if names[row.set] == row.set else replace(row, set=names[row.set]) for row in rows]


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(read_regular(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _damaged(path, error) from None
    if not isinstance(config, dict):
        raise _damaged(path, "no mapping")
    return config


def _about(folder: Path) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """By the stem of a model's files what its sets are, from its file of them."""
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for file in sorted(name for name in listed(folder) if name.startswith("about") and name.endswith(".json")):
        try:
            about = json.loads(read_regular(folder / file))
            found[file.removeprefix("about").removesuffix(".json")] = {name: dict(of) for name, of in about.items()}
            _kinds_of_sets(found)
            _general(found)
        except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError, OverflowError) as error:
            raise _damaged(folder / file, error) from None
    return found


def _kinds_of_sets(about: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """What the sets of every language are, such as `specific(g) | related(g)`; steps of a fallback have none."""
    kinds = (of.get("matrix") for sets in about.values() for of in sets.values())
    return list(dict.fromkeys(str(kind) for kind in kinds if kind))


def _general(about: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """How many neurons of the controls are general, all sets and draws together; empty where that was not counted."""
    sums: dict[str, list[int]] = {}
    for of in (of for sets in about.values() for of in sets.values()):
        for control, _, count in of.get("general", ()):
            both = sums.setdefault(str(control), [0, 0])
            both[0] += int(count)
            both[1] += int(of["neurons"])
    return joined([f"{found:,} of {all_of:,} {control} ones" for control, (found, all_of) in sums.items()])


def _answers(folder: Path, about: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> PageAnswers | None:
    """Some answers of the last model; None where none were asked for, or their texts were not kept."""
    stems = [stem for stem in sorted(about) if f"answers{stem}.jsonl" in listed(folder)]
    if not stems:
        return None
    own = {name: str(of.get("language", "")) for name, of in about[stems[-1]].items()}
    record = folder / f"answers{stems[-1]}.safetensors"
    return read_samples(record, record.with_suffix(".jsonl"), own)


def _damaged(path: Path, why: object) -> InputError:
    return InputError(Problem(str(path), f"it is damaged ({why})", "the file that was written", _FIX))
