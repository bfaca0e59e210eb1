"""Neuron sets and counts for others: `python -m alignlab.share run=runs/demo repo=ada/demo-neurons`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignlab import console
from alignlab.command import end, run_command
from alignlab.config import start_text
from alignlab.errors import Problem, refuse_any
from alignlab.quick_start import quick_imports
from alignlab.sharing.options import ShareOptions

if TYPE_CHECKING:
    from alignlab.neurons.classification import Classification
    from alignlab.neurons.counts import ActivationCounts
    from alignlab.neurons.sets import NeuronSets

INTRO = "Make a folder of a run's neurons with a card that says what they are, and put it on the Hugging Face Hub."
# What is shown where nothing is asked for.
CALLS = {
    "run=runs/demo repo=ada/demo-neurons": "makes shared/demo-neurons",
    "run=runs/demo repo=ada/demo-neurons upload=true": "and puts it on the Hub",
    "sets=FILE counts=FILE repo=ada/demo-neurons": "sets of your own",
    "--help": "every key",
}
START = start_text("python -m alignlab.share run=FOLDER repo=OWNER/NAME [key=value ...]", INTRO, CALLS)


def run(config: ShareOptions) -> None:
    """Plan, make the folder, upload it where that is asked for, and say how others load it."""
    _check(config)
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.manifest import check_replaceable
        from alignlab.runs import check_writable
        from alignlab.sharing.hub_folder import KIND, check_fits, push_to_hub

    repo = config.repo
    assert repo is not None
    folder = Path(config.folder).expanduser() if config.folder else Path("shared") / repo.split("/")[-1]
    check_replaceable(folder, KIND, "folder")
    check_writable(folder, "folder")
    sets, found_by, result, anchor = _chosen(config)
    check_fits(sets, found_by)
    counts = found_by if config.run is None or config.with_counts else None
    console.heading("Plan of what is shared")
    layers, neurons = sets.shape
    sizes = ", ".join(f"{name} {size:,}" for name, size in sets.sizes().items())
    kept = [] if counts is None else [counts.tensors()]
    number = sets.sets[sets.names[0]].numel() * len(sets.names)
    number += sum(tensor.nbytes for tensors in kept for tensor in tensors.values())
    step = [("step", f"{found_by.step} of {config.run}")] if config.run is not None and found_by is not None else []
    console.table(
        [
            ("model", " at ".join(filter(None, [sets.model or "unknown", sets.revision]))),
            *step,
            ("neurons", f"{layers} x {neurons:,} at {sets.site}"),
            ("sets", sizes),
            ("counts", "none" if counts is None else f"of {len(counts.languages)} languages"),
            ("size", f"at most {console.size(number)}"),
            ("folder", str(folder)),
            (
                "upload",
                f"{repo}, {'private' if config.private else 'public'} where it is new" if config.upload else "no",
            ),
        ]
    )
    if Path(sets.model).expanduser().exists():
        console.say(f"note: the model is a folder of yours, {sets.model}: others cannot load it by that name")
    if config.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to make the folder.")
        return
    place = push_to_hub(
        repo,
        sets,
        counts,
        result=result,
        found_by=found_by,
        anchor=anchor,
        folder=folder,
        licence=config.licence,
        private=config.private,
        dry_run=not config.upload,
    )
    console.say()
    console.heading("Written")
    rows = [("folder", f"{folder} (sets.safetensors, README.md{', counts.safetensors' if counts is not None else ''})")]
    rows += [("Hub", place)] if config.upload else []
    console.table(rows)
    here = repo if config.upload else folder
    console.say(f'\nOthers load it by: from alignlab import from_hub; from_hub("{here}")')
    if not config.upload:
        console.say(f"Next: read {folder / 'README.md'}, then the same command with upload=true.")


def _check(config: ShareOptions) -> None:
    """What is missing, or does not go together, all at once."""
    problems = []
    if (config.run is None) == (config.sets is None):
        found = "neither run nor sets" if config.run is None else "run and sets"
        problems.append(Problem("run", found, "one of the two", "Write run=runs/demo, or sets=sets.safetensors."))
    if config.repo is None:
        problems.append(Problem("repo", "none", "owner/name", "Write repo=ada/demo-neurons."))
    if config.run is None and config.step is not None:
        problems.append(Problem("step", f"{config.step}", "none without a run"))
    if config.run is not None and config.counts is not None:
        problems.append(
            Problem("counts", config.counts, "none of a run", "Its counts are shared: with_counts says so.")
        )
    refuse_any(problems)


def _chosen(
    config: ShareOptions,
) -> tuple[NeuronSets, ActivationCounts | None, Classification | None, int | None]:
    """The sets, with the counts that they were found by, their classification and the step whose thresholds it has
    where that is another, as far as there are any.
    """
    from alignlab.neurons.counts import ActivationCounts
    from alignlab.neurons.sets import NeuronSets
    from alignlab.stored_run import load_run

    if config.run is None:
        assert config.sets is not None
        sets = NeuronSets.load(Path(config.sets).expanduser(), format="alignlab")
        counts = None if config.counts is None else ActivationCounts.load(Path(config.counts).expanduser())
        return sets, counts, None, None
    run = load_run(config.run)
    step = run.steps[-1] if config.step is None else config.step
    counts = run.snapshots[step]
    result = run.classification(step)
    anchor = run.steps[0] if step != run.steps[0] else None
    return NeuronSets.of(result, counts=counts), counts, result, anchor


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        sys.stdout.write(START)
        return 0
    return run_command(ShareOptions, run, command="share", intro=INTRO, argv=given)


if __name__ == "__main__":
    end(main())
