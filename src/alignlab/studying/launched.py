"""What a launcher has told a study, and its cells are not to hear: each is a process that knows of no others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from alignlab.errors import InputError

# The study answers to SLURM and to launchers, not its cells.
_NOT_OF_CELLS = (
    "SLURM_", "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_", "TORCHELASTIC_",
)  # fmt: skip
# By which Lightning and the terminal take a process for one of several ranks. The job's number stays: it is requeued.
_RANKS_OF_SLURM = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def of_cells(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the processes of cells have."""
    return {name: value for name, value in environment.items() if not name.startswith(_NOT_OF_CELLS)}


@contextmanager
def as_one_process() -> Iterator[None]:
    """Within it tasks of one SLURM job are no ranks: each speaks, takes other cells, and plans them as they will be."""
    held = {name: os.environ.pop(name) for name in _RANKS_OF_SLURM if name in os.environ}
    try:
        yield
    finally:
        os.environ |= held


def check_devices(devices: Sequence[str]) -> None:
    """Refuse GPUs that are not there: a cell would train on the processor, and say nothing. Raises InputError.

    Those that are called by their UUID, and parts of GPUs, are taken as they are where all GPUs are visible.
    """
    asked = [part.strip() for one in devices for part in one.split(",")]
    given = os.environ.get(_VISIBLE)
    if given is None:
        asked = [part for part in asked if not part.startswith(("GPU-", "MIG-"))]
    if not asked:
        return
    there = _counted() if given is None else [part.strip() for part in given.split(",") if part.strip()]
    wanting = [part for part in dict.fromkeys(asked) if part not in there]
    if wanting:
        whose = "this machine" if given is None else f"{_VISIBLE}={given}"
        expected = f"some of {', '.join(there)}" if there else "none"
        fix = "" if there else "Leave devices out; jobs=2 runs two processes side by side."
        raise InputError.of("devices", f"{whose} has no GPU {', '.join(wanting)}", expected, fix)


def _counted() -> list[str]:
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
