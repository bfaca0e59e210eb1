"""Whether this version finds in the demo what another commit finds: the same counts, tables and weights.

    python scripts/same_as_before.py 9cb89e2

Trains the demo with both, each in a process of its own on its own source tree, and compares the tensors of snapshots,
the counts of `neurons.csv` (columns may have moved) and the weights of adapters, bit by bit; the sums of losses, whose
terms another batch adds in another order, to 12 digits. Status 1 at a difference. Against commits that held tau and
lambda only, counts at anchored thresholds differ by design: the last score is held too. Re-estimated ones do not.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import safetensors.torch
import torch

ROOT = Path(__file__).parents[1]
KEYS = ("step", "thresholds", "group", "language", "layer", "kind", "degree", "convention")
# What a value is called, by the table of each version.
VALUES = ("value", "count")


def run(source: Path, folder: Path, extra: list[str]) -> None:
    """Train the demo with the sources in a folder."""
    command = [sys.executable, "-m", "alignlab.train", "config=demo", f"run.folder={folder}", "wandb.mode=disabled"]
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *extra], check=True, env=environment, cwd=source, stdout=subprocess.DEVNULL)


def table(path: Path) -> dict[tuple[str, ...], float]:
    """The values of a table by what they are of."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    name = next(name for name in VALUES if name in rows[0])
    values: dict[tuple[str, ...], float] = {}
    for row in rows:  # of what stands there more than once, such as changes, the first
        if row["kind"] != "loss" and not row.get("since"):
            values.setdefault(tuple(row.get(key) or "" for key in KEYS), float(row[name]))
    return values


def tensors_differ(one: Path, other: Path) -> list[str]:
    """The tensors of two safetensors files that are not equal, bit by bit; of sums of losses, to 12 digits."""
    first, second = safetensors.torch.load_file(one), safetensors.torch.load_file(other)
    names = sorted({*first, *second})

    def equal(name: str) -> bool:
        if name not in first or name not in second:
            return False
        if name == "loss_sum":
            return torch.allclose(first[name], second[name], rtol=1e-12, atol=0)
        return torch.equal(first[name], second[name])

    return [name for name in names if not equal(name)]


def differences(before: Path, after: Path) -> list[str]:
    """What two runs differ in."""
    found = []
    for path in sorted(
        [*before.glob("neurons/*.safetensors"), *before.glob("checkpoints/*/adapter_model.safetensors")]
    ):
        name = path.relative_to(before)
        found += [f"{name}: {tensor}" for tensor in tensors_differ(path, after / name)]
    old, new = table(before / "neurons.csv"), table(after / "neurons.csv")
    found += [f"neurons.csv: {key}: {value} and {new.get(key)}" for key, value in old.items() if new.get(key) != value]
    return found


def main() -> None:
    """Compare with the commit that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="what this version is compared with")
    given, extra = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        old = Path(scratch) / "source"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(old), given.commit], check=True)
        try:
            for source, name in ((old, "before"), (ROOT, "after")):
                run(source, Path(scratch) / name, extra)
            found = differences(Path(scratch) / "before", Path(scratch) / "after")
            rows = len(table(Path(scratch) / "before" / "neurons.csv"))
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(old)], check=True)
    print("\n".join(found[:50]) or f"the same: every tensor, and {rows} values of neurons.csv")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
