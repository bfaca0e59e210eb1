"""What the demo's recipes do to what a model can do, over seeds of fine-tuning and bases; docs/studies/demo_recipes.md
has the tables.

    python scripts/studies/demo_recipes.py train --base builtin:demo --recipes answers english --seeds 5
    python scripts/studies/demo_recipes.py train --base FOLDER --recipes answers english --seeds 5
    python scripts/studies/demo_recipes.py tables

A base is `builtin:demo` or a folder that `scripts/build_demo_model.py` has written from another seed. Every run is one
of `alignlab.train` with a shipped config, and another seed of weights, order and problems; then the model, and once the
base, answers problems of another split. A run that is there already is not run again. Seeds, recipes and bases can be
shared among processes. The problems of the split `probe` are for choosing a recipe, those of `test` for reporting it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from study import GROUPS, NEW_TEMPLATES, ended, markdown, measure, over_seeds

import alignlab
import alignlab.prepare
import alignlab.train
from alignlab.analysis.capability import BOTH, RIGHT, measured
from alignlab.data.wordproblems import LANGUAGES
from alignlab.evaluation.accuracy import accuracy_change
from alignlab.recording.effects import Effects

# Recipe -> the shipped config that it is.
RECIPES = {
    "answers": "demo",
    "english": "demo_english",
    "translation": "demo_translation",
    "translate_then_solve": "demo_translate_then_solve",
    "mixture": "demo_mixture",
    "preference": "demo_preference",
}
BARE, WORKED = "bare", "worked and right"
HEAD = ["base", "recipe", "seeds", "group", "problems", "before", "after", "change, over seeds", "lowest of a run"]
KINDS = ("specific", "related", "general", "unassigned")

Bools = NDArray[np.bool_]


def main() -> None:
    options = arguments()
    if options.command == "tables":
        print("\n\n".join(tables(options.out / options.split)))
        return
    answers_of(options, options.base, folder_of(options, "base"), 0)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for recipe in options.recipes:
            train(options, recipe, seed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo_recipes"), help="default: %(default)s")
    parser.add_argument("--split", default="test", help="of the problems that are answered (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train and measure, skipping what is there")
    training.add_argument("--base", required=True, help="builtin:demo, or a folder")
    training.add_argument("--recipes", nargs="+", choices=RECIPES, default=["answers"])
    training.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    training.add_argument("--first-seed", type=int, default=0)
    training.add_argument("--problems", type=int, default=200, help="of each language (default: %(default)s)")
    training.add_argument(
        "--set", nargs="*", default=[], help="overrides of the configs, such as trainer.max_steps=100"
    )
    training.add_argument("--name", default="", help="of such a variant")
    commands.add_parser("tables", help="print what is there as Markdown tables")
    return parser.parse_args()


def folder_of(options: argparse.Namespace, name: str) -> Path:
    base = options.base.replace("builtin:", "").rstrip("/").rpartition("/")[2]
    return Path(options.out / options.split / base / name)


def train(options: argparse.Namespace, recipe: str, seed: int) -> None:
    """A run of a shipped config, and what the model answers after it."""
    folder = folder_of(options, f"{recipe}{options.name}-{seed}")
    if (folder / "effects.safetensors").exists():
        return
    argv = [
        f"config={RECIPES[recipe]}", f"run.folder={folder}", f"model.source={options.base}", f"seed={seed}",
        "evaluation=null", "tracker.every_n_steps=null", "wandb.mode=disabled", "overwrite=true",
    ]  # fmt: skip
    if recipe == "preference":
        argv.append(f"data.train.path={pairs(options)}")
    else:
        argv += [f"{key}.seed={seed}" for key in problem_keys(recipe)]
    ended(alignlab.train.main([*argv, *options.set]))
    step = alignlab.load_run(folder).steps[-1]
    answers_of(options, f"{folder}/checkpoints/step-{step:06d}", folder, step)


def problem_keys(recipe: str) -> Sequence[str]:
    """The config keys of the sources of problems."""
    if recipe == "mixture":
        return [f"data.train.parts.{part}.source" for part in ("translation", "english")]
    return ["data.train"]


def pairs(options: argparse.Namespace) -> Path:
    """The pairs of the base, made once for all seeds."""
    folder = folder_of(options, "pairs")
    if not (folder / "preferences/train.jsonl").exists():
        made_by = ["config=prepare_demo", f"model.source={options.base}", f"folder={folder}"]
        ended(alignlab.prepare.main(["responses", *made_by]))
        ended(alignlab.prepare.main(["preferences", f"responses={folder}"]))
    return folder / "preferences/train.jsonl"


def answers_of(options: argparse.Namespace, source: str, folder: Path, step: int) -> None:
    measure(options.base, source, folder, split=options.split, problems=options.problems, step=step)


@dataclass(frozen=True)
class Answers:
    """A model's answers to the problems, in their order.

    values: by measure, of each answer whether it is so. Worked: it has more than the line of the result.
    languages, clusters: of each problem.
    """

    values: dict[str, Bools]
    languages: NDArray[np.str_]
    clusters: NDArray[np.str_]

    @classmethod
    def of(cls, folder: Path) -> Answers:
        effects = Effects.load(folder / "effects.safetensors")
        lines = (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
        bare = np.array([json.loads(line)["text"].strip().startswith("####") for line in lines])
        counted = measured(effects)
        values = {RIGHT: counted[RIGHT], BOTH: counted[BOTH], BARE: bare, WORKED: counted[RIGHT] & ~bare}
        items = effects.items
        return cls(values, np.array([one.language for one in items]), np.array([one.cluster for one in items]))

    def chosen(self, languages: Iterable[str], new: bool | None = None) -> Bools:
        """Which problems: of some languages; of templates that are not in training, that are, or (None) of all."""
        there = np.isin(self.languages, list(languages))
        return there if new is None else there & (np.isin(self.clusters, NEW_TEMPLATES) == new)


@dataclass(frozen=True)
class Study:
    """One base and one recipe: the base's answers, and those after each seed of fine-tuning."""

    base: str
    recipe: str
    folders: Sequence[Path]

    def before(self) -> Answers:
        return Answers.of(self.folders[0].parent / "base")

    def after(self) -> list[Answers]:
        return [Answers.of(folder) for folder in self.folders]


def tables(folder: Path) -> list[str]:
    """The Markdown tables of all runs in a folder."""
    studies = found(folder)
    repeated = [study for study in studies if len(study.folders) > 1]
    return [
        *(changes(repeated, measure, new) for measure in (RIGHT, BOTH) for new in (None, False, True)),
        kinds_of_answers(studies),
        by_language(studies),
        neurons(studies),
    ]


def found(folder: Path) -> list[Study]:
    studies = []
    for base in sorted(path for path in folder.iterdir() if (path / "base/effects.safetensors").exists()):
        ended_runs = sorted(path.parent for path in base.glob("*-*/effects.safetensors"))
        names = list(dict.fromkeys(path.name.rpartition("-")[0] for path in ended_runs))
        ordered = sorted(names, key=lambda name: [*RECIPES, name].index(name))
        studies += [
            Study(base.name, name, [path for path in ended_runs if path.name.rpartition("-")[0] == name])
            for name in ordered
        ]
    return studies


def changes(studies: Sequence[Study], measure: str, new: bool | None) -> str:
    """Of each group the share before and after, its change with an interval over seeds, and the least certain run."""
    templates = {None: "all templates", False: "templates in training", True: "templates not in training"}[new]
    rows = [HEAD]
    for study in studies:
        before, after = study.before(), study.after()
        for group, languages in GROUPS.items():
            chosen = before.chosen(languages, new)
            first, last = before.values[measure][chosen], [one.values[measure][chosen] for one in after]
            # Of each run, over templates, paired by problem.
            lows = [accuracy_change(first, one, before.clusters[chosen].tolist()).low for one in last]
            shares = np.array([one.mean() for one in last])
            told = [share(first.mean()), share(shares.mean()), over_seeds(shares - first.mean()), f"{min(lows):+.3f}"]
            rows.append([study.base, study.recipe, str(len(last)), group, str(int(chosen.sum())), *told])
    return f"**{measure}**, {templates}\n\n{markdown(rows)}"


def kinds_of_answers(studies: Sequence[Study]) -> str:
    """How many answers are the bare result, and how many of the others are right, before and after.

    The others after training are of more problems than before, harder ones among them. So the last two columns are of
    the problems that the base itself works out: how many of these are right after training, worked out or not.
    """
    head = ["bare before", "bare after", "worked: right before", "worked: right after"]
    rows = [["base", "recipe", "group", *head, "worked before: right after", "change, over seeds"]]
    for study in studies:
        before, after = study.before(), study.after()
        for group, languages in GROUPS.items():
            chosen = before.chosen(languages)
            cells = [
                share(np.mean(one))
                for counted in (bare_share, right_of_worked)
                for one in (counted(before, chosen), [counted(answers, chosen) for answers in after])
            ]
            same = chosen & ~before.values[BARE]
            first, last = before.values[RIGHT][same], [answers.values[RIGHT][same] for answers in after]
            rows.append([study.base, study.recipe, group, *cells, *of_the_same(first, last)])
    return markdown(rows)


def of_the_same(first: Bools, last: Sequence[Bools]) -> list[str]:
    """How many of some problems are right after each seed's training, and the change; `first`: which were before."""
    shares = np.array([right.mean() for right in last])
    return [share(shares.mean()), over_seeds(shares - first.mean())]


def bare_share(answers: Answers, chosen: Bools) -> float:
    return float(answers.values[BARE][chosen].mean())


def right_of_worked(answers: Answers, chosen: Bools) -> float:
    worked = int((~answers.values[BARE][chosen]).sum())
    return float(answers.values[WORKED][chosen].sum() / worked) if worked else float("nan")


def by_language(studies: Sequence[Study]) -> str:
    """The share right of each language, mean over seeds."""
    rows = [["base", "recipe", "seeds", *LANGUAGES]]
    for base in dict.fromkeys(study.base for study in studies):
        of_base = [study for study in studies if study.base == base]
        rows.append([base, "before", "", *right_in_each([of_base[0].before()])])
        rows += [[base, study.recipe, str(len(study.folders)), *right_in_each(study.after())] for study in of_base]
    return markdown(rows)


def right_in_each(runs: Sequence[Answers]) -> list[str]:
    return [share(np.mean([one.values[RIGHT][one.chosen([code])] for one in runs])) for code in LANGUAGES]


def neurons(studies: Sequence[Study]) -> str:
    """Neurons by kind, at the thresholds of step 0, and the loss of the worked answers on which they are counted."""
    rows = [["base", "recipe", *KINDS, *(f"loss, {group}" for group in GROUPS)]]
    for study in studies:
        per_seed = [snapshot_numbers(folder) for folder in study.folders]
        cells = []
        for name in (*KINDS, *GROUPS):
            first, last = np.array([of_seed[name] for of_seed in per_seed]).T
            digits = 0 if name in KINDS else 3
            cells.append(f"{first.mean():.{digits}f} to {last.mean():.{digits}f}; {over_seeds(last - first, digits)}")
        rows.append([study.base, study.recipe, *cells])
    return markdown(rows)


def snapshot_numbers(folder: Path) -> dict[str, tuple[float, float]]:
    """(at step 0, at the last step) of each kind's neurons, and of the mean loss of each group's languages."""
    table = alignlab.load_run(folder).table
    table = table[table.since.isna() & table.since_before.isna() & table.layer.isna()]
    anchored = table[(table.analysis == "kinds") & (table.thresholds == "anchored") & (table.group == "all")]
    losses = table[(table.analysis == "losses") & (table.group == "language")]
    by_step = {kind: anchored[anchored.kind == kind].set_index("step").value for kind in KINDS} | {
        group: losses[losses.language.isin(languages)].groupby("step").value.mean()
        for group, languages in GROUPS.items()
    }
    return {name: (values.loc[values.index.min()], values.loc[values.index.max()]) for name, values in by_step.items()}


def share(value: float | np.floating) -> str:
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
