"""What training the weights of some neurons alone does: specific and related ones, matched and random ones, and LoRA.

    python scripts/studies/neuron_training.py rates
    python scripts/studies/neuron_training.py train --neurons-rate 1e-2 --lora-rate 5e-3 --seeds 5
    python scripts/studies/neuron_training.py tables

Two papers disagree on whether training language neurons helps (2503.17456, 2510.13580). A model that has been counted
once learns worked answers in Chinese and German. What is trained are the weights of the specific and related neurons of
these two languages, of as many neurons in each layer that are in no set, matched in probability or random, or LoRA in
the same maps, of the rank that comes nearest in trained numbers. All arms of a seed see the same problems in the same
order; controls are drawn anew. `rates` compares learning rates on problems of the split `probe`, with a seed that
`train` does not use: choose one for all three sets of neurons and one for LoRA. `train` measures on the split `test`. A
run that is there already is not run again; arms and seeds can be shared among processes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from study import GROUPS, NEW_TEMPLATES, TRAINED, Floats, ended, markdown, measure, over_seeds

import alignlab
import alignlab.train
from alignlab.analysis.capability import BOTH, RIGHT, measured
from alignlab.atomic import write_text
from alignlab.methods.options import Lora, TrainableOptions, TrainedNeurons
from alignlab.methods.trainable import make_trainable
from alignlab.models.load import ModelConfig
from alignlab.recording.effects import Effects

SETS: dict[str, Literal["none", "matched", "random"]] = {"neurons": "none", "matched": "matched", "random": "random"}
ARMS = (*SETS, "lora")
MEANINGS = {"neurons": "specific and related", "matched": "matched", "random": "random", "lora": "LoRA"}
RATES_SEED = 1000
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def main() -> None:
    options = arguments()
    if options.command == "rates":
        for arm in options.arms:
            for rate in options.rates:
                train(options, "probe", arm, RATES_SEED, rate)
        print(rates_table(options.out / "probe"))
    elif options.command == "train":
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for arm in options.arms:
                train(options, "test", arm, seed, options.lora_rate if arm == "lora" else options.neurons_rate)
    else:
        print("\n\n".join(tables(options.out / "test")))


def arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, default=Path("runs/neuron_training"), help="default: %(default)s")
    running = argparse.ArgumentParser(add_help=False, parents=[common])
    running.add_argument("--model", default="builtin:demo", help="a folder or Hub id (default: %(default)s)")
    running.add_argument("--steps", type=int, default=150, help="default: %(default)s")
    running.add_argument("--problems", type=int, default=100, help="of each language (default: %(default)s)")
    running.add_argument("--texts", type=int, default=120, help="of each language, to count on (default: %(default)s)")
    running.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    rates = commands.add_parser("rates", parents=[running], help="compare learning rates, on the split probe")
    rates.add_argument("--rates", nargs="+", type=float, default=RATES)
    training = commands.add_parser("train", parents=[running], help="train and measure, on the split test")
    training.add_argument(
        "--neurons-rate", type=float, required=True, help="learning rate of all three sets of neurons"
    )
    training.add_argument("--lora-rate", type=float, required=True)
    training.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    training.add_argument("--first-seed", type=int, default=0)
    commands.add_parser("tables", parents=[common], help="print what `train` has left as Markdown tables")
    return parser.parse_args()


def train(options: argparse.Namespace, split: str, arm: str, seed: int, rate: float) -> None:
    """One cell: a run, what the model answers after it, and `cell.json` about it, written last."""
    folder = options.out / split / f"{arm}-{rate:g}-{seed}"
    if (folder / "cell.json").exists():
        return
    answers_of(options, split, options.model, options.out / split / "base")
    weights = trainable(options, arm, seed)
    started = time.perf_counter()
    argv = [
        *recipe(options, folder), f"seed={seed}", f"data.train.seed={seed}", f"trainer.max_steps={options.steps}",
        f"method.optimizer.lr={rate}", "probe.source.count=2", "tracker.loss=false", *overrides(weights),
    ]  # fmt: skip
    ended(alignlab.train.main(argv))
    seconds = time.perf_counter() - started
    answers_of(options, split, f"{folder}/checkpoints/step-{options.steps:06d}", folder)
    rank = weights.lora.rank if arm == "lora" else None
    cell = {"arm": arm, "seed": seed, "rate": rate, "trained": size_of(options.model, weights), "rank": rank}
    write_text(folder / "cell.json", json.dumps(cell | {"seconds": seconds}, indent=2) + "\n")


def recipe(options: argparse.Namespace, folder: Path) -> list[str]:
    """The demo, on worked answers in the trained languages; every fourth template is not in training."""
    return [
        "config=demo", f"run.folder={folder}", f"model.source={options.model}", "method.name=supervised",
        "data.train.task=solve", f"data.train.languages=[{','.join(TRAINED)}]", "data.prompts.template={prompt}\n",
        f"data.train.without_templates=[{','.join(NEW_TEMPLATES)}]", "evaluation=null",
        "tracker.every_n_steps=null", "wandb.mode=disabled", "overwrite=true",
    ]  # fmt: skip


def counted(options: argparse.Namespace) -> Path:
    """A run of one step that has counted the model's neurons, made once."""
    folder = options.out / "counted"
    if not (folder / "finished.json").exists():
        argv = [*recipe(options, folder), "trainer.max_steps=1", f"probe.source.count={options.texts}"]
        ended(alignlab.train.main([*argv, "tracker.loss=false"]))
    return Path(folder)


def trainable(options: argparse.Namespace, arm: str, seed: int) -> TrainableOptions:
    """What an arm trains; LoRA of the rank that comes nearest to the neurons in trained numbers."""
    chosen = TrainedNeurons(
        run=str(counted(options)), languages=list(TRAINED), control=SETS.get(arm, "none"), seed=seed
    )
    neurons = TrainableOptions(trainable="neurons", neurons=chosen)
    if arm != "lora":
        return neurons
    of_rank = TrainableOptions(trainable="lora", lora=Lora(rank=1, targets=["mlp"]))
    rank = max(round(size_of(options.model, neurons) / size_of(options.model, of_rank)), 1)
    return TrainableOptions(trainable="lora", lora=Lora(rank=rank, alpha=2 * rank, targets=["mlp"]))


def size_of(model: str, weights: TrainableOptions) -> int:
    """Trained numbers."""
    with torch.device("meta"):
        prepared = make_trainable(ModelConfig(source=model).build_meta(), weights)
    return sum(parameter.numel() for parameter in prepared.parameters() if parameter.requires_grad)


def overrides(weights: TrainableOptions) -> list[str]:
    if weights.trainable == "lora":
        lora = weights.lora
        return ["method.trainable=lora", f"method.lora.rank={lora.rank}", f"method.lora.alpha={lora.alpha:g}",
            "method.lora.targets=[mlp]"]  # fmt: skip
    neurons = weights.neurons
    return [
        "method.trainable=neurons", f"method.neurons.run={neurons.run}", f"method.neurons.seed={neurons.seed}",
        f"method.neurons.control={neurons.control}", f"method.neurons.languages=[{','.join(TRAINED)}]",
    ]  # fmt: skip


def answers_of(options: argparse.Namespace, split: str, source: str, folder: Path) -> None:
    step = 0 if source == options.model else options.steps
    measure(options.model, source, folder, split=split, problems=options.problems, step=step)


@dataclass(frozen=True)
class Cell:
    """A run. shares: by measure, of each group how many answers are so.  trained: numbers that were trained."""

    arm: str
    seed: int
    rate: float
    trained: int
    rank: int | None
    seconds: float
    shares: dict[str, Floats]

    @classmethod
    def of(cls, folder: Path) -> Cell:
        return cls(**json.loads((folder / "cell.json").read_text(encoding="utf-8")), shares=shares_of(folder))


def shares_of(folder: Path) -> dict[str, Floats]:
    effects = Effects.load(folder / "effects.safetensors")
    values, languages = measured(effects), np.array([item.language for item in effects.items])
    groups = [np.isin(languages, codes) for codes in GROUPS.values()]
    return {measure: np.array([values[measure][group].mean() for group in groups]) for measure in (RIGHT, BOTH)}


def cells_in(folder: Path) -> list[Cell]:
    found = [Cell.of(path.parent) for path in folder.glob("*/cell.json")]
    return sorted(found, key=lambda cell: (ARMS.index(cell.arm), cell.rate, cell.seed))


def rates_table(folder: Path) -> str:
    """Of each arm and rate the share right."""
    rows = [["arm", "learning rate", "trained numbers", *GROUPS]]
    rows.append(["before", "", "", *shown(shares_of(folder / "base")[RIGHT])])
    rows += [
        [MEANINGS[cell.arm], f"{cell.rate:g}", f"{cell.trained:,}", *shown(cell.shares[RIGHT])]
        for cell in cells_in(folder)
    ]
    return markdown(rows)


def tables(folder: Path) -> list[str]:
    """What each arm does, and how it differs from specific and related neurons, paired by seed."""
    cells, before = cells_in(folder), shares_of(folder / "base")
    by_arm = {arm: [cell for cell in cells if cell.arm == arm] for arm in ARMS}
    return [
        text
        for measure in (RIGHT, BOTH)
        for text in (
            f"**{measure}**: share of the answers, mean over seeds",
            shares_table({arm: found for arm, found in by_arm.items() if found}, before, measure),
            f"**{measure}**: specific and related less another arm; mean, 95 % over seeds, paired; lowest and highest",
            differences_table(by_arm, measure),
        )
    ]


def shares_table(by_arm: dict[str, list[Cell]], before: dict[str, Floats], measure: str) -> str:
    rows = [["trained", "numbers", "rate", "seeds", "seconds", *GROUPS]]
    rows.append(["nothing", "0", "", "", "", *shown(before[measure])])
    for arm, cells in by_arm.items():
        name = MEANINGS[arm] + (f", rank {cells[0].rank}" if cells[0].rank else "")
        rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(cell.rate for cell in cells))
        means = np.mean([cell.shares[measure] for cell in cells], axis=0)
        seconds = f"{np.mean([cell.seconds for cell in cells]):.0f}"
        rows.append([name, f"{cells[0].trained:,}", rates, str(len(cells)), seconds, *shown(means)])
    return markdown(rows)


def differences_table(by_arm: dict[str, list[Cell]], measure: str) -> str:
    rows = [["less", "seeds", *GROUPS]]
    own = {cell.seed: cell.shares[measure] for cell in by_arm["neurons"]}
    for arm in ARMS[1:]:
        others = {cell.seed: cell.shares[measure] for cell in by_arm[arm]}
        if seeds := sorted(own.keys() & others.keys()):
            paired = np.array([own[seed] - others[seed] for seed in seeds])
            rows.append([MEANINGS[arm], str(len(seeds)), *(_with_range(column) for column in paired.T)])
    return markdown(rows)


def _with_range(values: Floats) -> str:
    """Mean over the seeds with its interval, lowest and highest; of one value the mean alone."""
    mean = over_seeds(values)
    return mean if len(values) < 2 else f"{mean}; {values.min():+.3f} to {values.max():+.3f}"


def shown(shares: Floats) -> list[str]:
    return [f"{share:.3f}" for share in shares]


if __name__ == "__main__":
    main()
