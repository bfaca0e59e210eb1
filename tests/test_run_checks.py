"""What cannot be sharded is refused in one message, before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignlab.train import main

TWO = ["trainer.strategy=sharded", "trainer.devices=2"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["trainer.strategy=fsdp"], "trainer.strategy: 'fsdp', under which checkpoints would be incomplete"),
        (["trainer.strategy=fsdp_cpu_offload"], "expected auto, ddp, or sharded"),
        (["trainer.strategy=fsdp2"], "expected auto, ddp, or sharded"),
        (["trainer.strategy=deepspeed"], "trainer.strategy: 'deepspeed'"),
        (["trainer.strategy=deepspeed_stage_3"], "sharded shares out weights, gradients and Adam's moments (FSDP2)."),
        (["trainer.strategy=model_parallel"], "expected auto, ddp, or sharded"),
        (["trainer.strategy=xla_fsdp"], "expected auto, ddp, or sharded"),
        (["trainer.strategy=sharded"], "trainer.strategy: sharded, and there is one rank; expected two ranks or more"),
        (["trainer.strategy=sharded", "trainer.devices=1"], "and there is one rank"),
        (["trainer.strategy=sharded", "trainer.devices=[0]"], "and there is one rank"),
        (["trainer.strategy=sharded", "trainer.devices='0,'"], "and there is one rank"),
        (["trainer.strategy=sharded", "trainer.devices=auto"], "trainer.devices: 'auto', and trainer.strategy is"),
        (["trainer.strategy=sharded", "trainer.devices=-1"], "trainer.devices: -1, and trainer.strategy is sharded"),
        ([*TWO, "trainer.precision=64-true"], "trainer.precision: '64-true', and trainer.strategy is sharded"),
        ([*TWO, "trainer.precision=16-mixed"], "expected one of 32-true, bf16-true, 16-true, bf16-mixed"),
        ([*TWO, "trainer.precision=transformer-engine"], "trainer.precision: 'transformer-engine'"),
        ([*TWO, "trainer.accelerator=mps"], "trainer.accelerator: 'mps', and trainer.strategy is sharded"),
        ([*TWO, "model.four_bit=true"], "model.four_bit: true, and trainer.strategy is sharded; expected false"),
        ([*TWO, "method.trainable=neurons"], "method.trainable: neurons, and trainer.strategy is sharded"),
        ([*TWO, "stages.a.trainer.max_steps=1", "stages.a.method.trainable=neurons"], "stages.a.method.trainable:"),
    ],
)
def test_what_cannot_be_sharded_is_refused(
    argv: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # There is no such model: what is said is said before it is looked for.
    assert main(["config=demo", "model.source=/none", f"run.folder={tmp_path / 'run'}", *argv]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert says in said
    assert "/none" not in said
    assert not (tmp_path / "run").exists()


def test_all_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["trainer.strategy=sharded", "model.four_bit=true", "trainer.precision=16-mixed", "method.trainable=neurons"]
    assert main(["config=demo", f"run.folder={tmp_path / 'run'}", *argv]) == 2
    said = capsys.readouterr().err
    assert all(
        key in said for key in ("trainer.strategy:", "model.four_bit:", "trainer.precision:", "method.trainable:")
    )


def test_the_plan_tells_what_a_rank_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config=demo", "dry_run=true", f"run.folder={tmp_path / 'run'}", *TWO]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "over 2 ranks: each holds 1/2 of weights, gradients and Adam's moments" in said
    assert "gathered" in said
