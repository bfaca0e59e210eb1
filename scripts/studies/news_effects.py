"""The neurons of the news model, and what switching them off does; docs/studies/news.md has all commands.

    python scripts/studies/news_effects.py sets --out runs/news
    python -m alignlab.intervene run=runs/news/run neurons=runs/news/sets.safetensors ...
    python scripts/studies/news_effects.py matrix --out runs/news --name deactivation

`sets` writes every language's neurons, found at the last snapshot by the identifier of the run, and as many for each
by another; it prints how many these are. They are files, since `alignlab.intervene` alone takes the thresholds of the
first snapshot, and here that is a model of random weights. `matrix` prints, of what `alignlab.intervene` has written,
what each language's neurons do to it beside their controls.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from news_model import LANGUAGES
from study import markdown

from alignlab import ActivationCounts, NeuronSets, lape, load_run
from alignlab.neurons import Classification, Kind
from alignlab.neurons.table import Row, read_csv

RUN, SETS, EQUAL_SETS = "run", "sets.safetensors", "equal_sets.safetensors"
# Of each language, 1 % of all neurons.
EACH = 46
BAR = 0.95


def main() -> None:
    options = arguments()
    if options.command == "matrix":
        print(matrix_table(read_csv(options.out / RUN / "interventions" / options.name / "table.csv")))
        return
    run = load_run(options.out / RUN)
    counts, found = run.snapshots[run.steps[-1]], run.classification(run.steps[-1], anchored=False)
    sets = {
        SETS: NeuronSets.of(found, kinds=[Kind.SPECIFIC, Kind.RELATED], counts=counts),
        EQUAL_SETS: equal_size(counts, EACH, BAR),
    }
    for name, one in sets.items():
        one.save(options.out / name)
    print(found, "\n")
    print(sizes_table(counts, found, *sets.values()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("sets", "matrix"))
    parser.add_argument("--out", type=Path, default=Path("runs/news"), help="of news_model.py (default: %(default)s)")
    parser.add_argument("--name", default="deactivation", help="of the intervention (default: %(default)s)")
    return parser.parse_args()


def last_counts(out: Path) -> ActivationCounts:
    """The counts of the last snapshot of the run."""
    run = load_run(out / RUN)
    return run.snapshots[run.steps[-1]]


def equal_size(counts: ActivationCounts, each: int, bar: float) -> NeuronSets:
    """The sets of Kargaran et al.: of every language the `each` neurons of lowest entropy among those above tau in it.

    Of equal entropies the first in order. Fewer where fewer are above tau.
    """
    everything = lape(counts, top_rate=1.0, bar=bar)
    entropy = everything.scores["entropy"].flatten()
    found = {}
    for code, above in everything.above.items():
        places = above.flatten().nonzero().flatten()
        lowest = places[entropy[places].argsort(stable=True)[:each]]
        found[code] = above.new_zeros(above.numel()).index_fill(0, lowest, True).view(above.shape)
    about = {name: getattr(counts, name) for name in ("site", "scope", "model", "data_fingerprint")}
    return NeuronSets(found, statistic="activation probability", thresholds={"tau": everything.threshold}, **about)


def sizes_table(counts: ActivationCounts, found: Classification, sets: NeuronSets, equal: NeuronSets) -> str:
    """How many neurons of each language there are, in which layers, and how often they are active in it."""
    p = dict(zip(counts.languages, counts.probabilities(), strict=True))
    rows = [
        [
            "language",
            "above tau",
            "specific",
            "related",
            "by layer",
            "mean p in it",
            "elsewhere",
            "equal size, by layer",
        ]
    ]
    for code in LANGUAGES:
        mask = sets[code]
        specific = int((mask & (found.degree == 1)).sum())
        elsewhere = torch.stack([p[other] for other in p if other != code]).mean(dim=0)
        rows.append(
            [
                code,
                *(f"{int(number)}" for number in (found.above[code].sum(), specific, mask.sum() - specific)),
                " ".join(map(str, mask.sum(dim=1).tolist())),
                *(f"{float(one[mask].mean()):.2f}" for one in (p[code], elsewhere)),
                " ".join(map(str, equal[code].sum(dim=1).tolist())),
            ]
        )
    return markdown(rows)


def matrix_table(rows: Sequence[Row]) -> str:
    """What every language's neurons, switched off, do to it: beside matched ones, and beside the other languages."""
    nats, over = "nats", "nats over control"
    changed, others = f"change of {nats}", f"change of {nats}, own language over others"

    def the(measure: str, code: str, **columns: Any) -> Row:
        """The one number of that measure, of a language's own set in it."""
        pair = {"group": "pair", "language": code, "other": code}
        wanted = {"analysis": "effects", "measure": measure, "control": "", **pair, **columns}
        [found] = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
        return found

    table = [
        [
            "language",
            "as it is",
            "off",
            "matched off",
            "more than matched",
            "Holm p",
            "more than in the others",
            "Holm p",
        ]
    ]
    for code in LANGUAGES:
        alone = {"group": "language", "other": ""}
        own = [the(nats, code, **alone, set=""), the(changed, code), the(over, code, control="matched")]
        control, rest = the(changed, code, control="matched"), the(others, code, **alone)
        cells = [*(with_ends(one) for one in own), with_ends(rest)]
        cells.insert(2, f"{control.value:.3f} (SD {control.sd or 0:.3f})")
        marks = ["*" if one.beyond_control or one.beyond_noise else "" for one in (own[2], rest)]
        table.append(
            [code, *cells[:4], f"{own[2].p_adjusted:.3f}{marks[0]}", cells[4], f"{rest.p_adjusted:.3f}{marks[1]}"]
        )
    return markdown(table)


def with_ends(row: Row) -> str:
    ends = "" if row.low is None or row.high is None else f" [{row.low:.3f}, {row.high:.3f}]"
    return f"{row.value:.3f}{ends}"


if __name__ == "__main__":
    main()
