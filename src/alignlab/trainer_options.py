"""The arguments of `lightning.Trainer` that a config may give; only those that are given are passed on.

Names and defaults are Lightning's; the types are narrowed to what a file can hold and a run of alignlab can mean.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from alignlab.errors import Problem, refuse_any

# What alignlab sets itself.
RESERVED = (
    "logger",
    "callbacks",
    "default_root_dir",
    "enable_checkpointing",
    "enable_progress_bar",
    "plugins",
    "profiler",
)
# What would break the plan, in which every step, its examples and the end are known before the first; with what each
# may be. The end is trainer.max_steps or trainer.max_epochs.
_PLAN_BREAKERS: dict[str, tuple[Any, ...]] = {
    "fast_dev_run": (None, False, 0),
    "limit_train_batches": (None, 1.0),
    "overfit_batches": (None, 0, 0.0),
    "min_steps": (None,),
    "min_epochs": (None,),
    "reload_dataloaders_every_n_epochs": (None, 0),
    "use_distributed_sampler": (None, False),
    "barebones": (None, False),
}
SHARDED = "sharded"  # of strategies the one that is ours
MOST_STEPS = 1_000_000_000
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Batches = Count | Share | None
Precision = Literal[
    "32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed",
    "transformer-engine", "transformer-engine-float16", "64", "32", "16", "bf16", 64, 32, 16,
]  # fmt: skip
Days = Annotated[str, Field(pattern=r"^[0-9]{1,6}:[0-9]{2}:[0-9]{2}:[0-9]{2}$", examples=["00:12:00:00"])]
Unit = Literal["weeks", "days", "hours", "minutes", "seconds"]
Durations = dict[Unit, Annotated[int, Field(ge=0, le=1_000_000)]]

Numbers = Annotated[str, Field(pattern=r"^[0-9]{1,6}(,[0-9]{0,6})*$", examples=["0,1"])]


def Meant(meaning: str, **bounds: Any) -> Any:  # noqa: N802 - reads as the Field that it is
    return Field(description=meaning, **bounds)


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class StageTrainerOptions(TypedDict, total=False):
    """Those arguments of `lightning.Trainer` in which the stages of a run may differ."""

    max_epochs: Annotated[
        Annotated[int, Field(ge=-1, le=MOST_STEPS)] | Annotated[float, Field(gt=0, le=MOST_STEPS)] | None,
        Meant("passes over the training data"),
    ]
    max_steps: Annotated[
        Annotated[int, Field(ge=-1, le=MOST_STEPS)] | None,
        Meant("optimiser steps, instead of max_epochs; -1: no limit"),
    ]
    accumulate_grad_batches: Annotated[int, Meant("micro-batches of an optimiser step", ge=1, le=2**31 - 1)]
    gradient_clip_val: Annotated[Annotated[float, Field(ge=0)] | None, Meant("gradients are clipped to this")]
    gradient_clip_algorithm: Annotated[Literal["norm", "value"] | None, Meant("whether norm or values are clipped")]


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class TrainerOptions(StageTrainerOptions, total=False):
    """Arguments of `lightning.Trainer`."""

    min_epochs: Annotated[Count | None, Meant("passes before an end is considered")]
    min_steps: Annotated[Count | None, Meant("optimiser steps before an end is considered")]
    max_time: Annotated[Days | Durations | None, Meant("end after this time, such as 00:12:00:00 (days first)")]
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "cuda", "mps"], Meant("on what is trained")]
    strategy: Annotated[
        str, Meant("how ranks share the work; sharded: weights too", pattern=r"^[a-z]\w*$", examples=["ddp"])
    ]
    devices: Annotated[
        Literal["auto", -1] | Positive | list[Count] | Numbers, Meant("of a node: how many, which, or auto; -1: all")
    ]
    num_nodes: Annotated[int, Meant("machines", ge=1, le=100_000)]
    precision: Annotated[Precision | None, Meant("of weights and computation")]
    log_every_n_steps: Annotated[Positive | None, Meant("a row of numbers this often, in optimiser steps")]
    deterministic: Annotated[bool | Literal["warn"] | None, Meant("algorithms that give the same bits every time")]
    benchmark: Annotated[bool | None, Meant("let cuDNN look for the fastest kernels")]
    use_distributed_sampler: Annotated[bool, Meant("false: alignlab deals the examples to ranks itself")]
    detect_anomaly: Annotated[bool, Meant("find where gradients become NaN (slow)")]
    sync_batchnorm: Annotated[bool, Meant("batch norm over all ranks")]
    inference_mode: Annotated[bool, Meant("evaluate without autograd")]
    enable_model_summary: Annotated[bool | None, Meant("print Lightning's table of the layers")]
    enable_autolog_hparams: Annotated[bool, Meant("log the module's hyperparameters")]
    barebones: Annotated[bool, Meant("Lightning without its extras, to find out what they cost")]
    fast_dev_run: Annotated[bool | Count, Meant("a few batches only, to find mistakes")]
    limit_train_batches: Annotated[Batches, Meant("of the training: how many batches, or which share")]
    limit_val_batches: Annotated[Batches, Meant("of the validation: how many batches, or which share")]
    limit_test_batches: Annotated[Batches, Meant("of the test: how many batches, or which share")]
    limit_predict_batches: Annotated[Batches, Meant("of the prediction: how many batches, or which share")]
    overfit_batches: Annotated[Count | Share, Meant("train and validate on these only")]
    val_check_interval: Annotated[Batches | Days | Durations, Meant("validate this often in an epoch")]
    check_val_every_n_epoch: Annotated[Positive | None, Meant("validate every this many epochs")]
    num_sanity_val_steps: Annotated[
        Annotated[int, Field(ge=-1, le=2**31 - 1)] | None, Meant("batches of validation at the start")
    ]
    reload_dataloaders_every_n_epochs: Annotated[int, Meant("build the loaders anew this often; 0: never", ge=0)]
    model_registry: Annotated[str | None, Meant("name in Lightning's model registry")]


def planned_ranks(given: TrainerOptions) -> int:
    """Processes that will train, as far as these arguments tell: `devices: auto` and all of them (-1) count as one."""
    devices = given.get("devices", 1)
    if isinstance(devices, str):  # "0,1" names two, and "2" is their number
        named = [one for one in devices.split(",") if one]
        devices = len(named) if "," in devices else int(devices) if devices.isdigit() else 1
    count = len(devices) if isinstance(devices, list) else devices
    return max(count, 1) * given.get("num_nodes", 1)


def check_plan(given: TrainerOptions) -> None:
    """Refuse arguments with which a run would end early, or train on other examples, and yet pass for finished."""
    fix = "Leave it out. For a short run set trainer.max_steps, for a look at the plan dry_run=true."
    expected = "a run whose steps are planned before the first"
    values = [(key, given.get(key), allowed) for key, allowed in _PLAN_BREAKERS.items()]
    refuse_any(
        [
            Problem(f"trainer.{key}", f"{value!r} breaks the plan of the run", expected, fix)
            for key, value, allowed in values
            if not any(value == one and type(value) is type(one) for one in allowed)
        ]
    )
