"""Parts of a model: every rank's own arrives in what is saved, and what is dealt is dealt once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from alignlab.models.sharding import dealt, is_sharded, part_of, whole, whole_weights

from ..scripts_as_modules import script_as_module

SCRIPT = Path(__file__).with_name("one_sharded_rank.py")


def expected(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights as both ranks have stamped them, put together as `torch.chunk` parts rows."""
    stamp, ranks = script_as_module(SCRIPT).stamp, script_as_module(SCRIPT).RANKS
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return {
        name: torch.cat([stamp(rank, number, part) for rank, part in enumerate(weight.detach().chunk(ranks))])
        for number, (name, weight) in enumerate(trained)
    }


@pytest.mark.slow
def test_a_value_of_every_ranks_own_arrives_in_the_saved_folder(model_folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPT]
    ranks = [subprocess.Popen([*command, str(n), model_folder, tmp_path], env=environment) for n in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]

    def load(folder: Path) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(folder)

    full, wanted = load(tmp_path / "full"), expected(load(model_folder))
    assert wanted["model.embed_tokens.weight"].max() > 500_000  # of the second rank too
    assert dict(full.named_parameters()).keys() == wanted.keys()
    for name, weight in full.named_parameters():
        assert torch.equal(weight, wanted[name]), name
    assert (tmp_path / "full/config.json").read_bytes() == (model_folder / "config.json").read_bytes()

    adapted = peft.PeftModel.from_pretrained(load(model_folder), tmp_path / "adapter", is_trainable=True)
    wanted = expected(script_as_module(SCRIPT).adapted(load(model_folder)))
    loaded = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert loaded.keys() == wanted.keys()
    for name, weight in loaded.items():
        assert torch.equal(weight, wanted[name]), name
    # Beside them the embeddings that the adapter is on, as PEFT saves them of a whole model.
    script_as_module(SCRIPT).adapted(load(model_folder)).save_pretrained(tmp_path / "plain")
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("adapter", "plain")]
    ours, plain = (peft.utils.save_and_load.safe_load_file(file) for file in files)
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in plain.items()}


def test_what_is_whole_stays_as_it_is(tiny_llama: Any) -> None:
    weight = next(tiny_llama.parameters())
    assert not is_sharded(tiny_llama)
    assert whole_weights(tiny_llama) is None
    assert whole(weight) is weight
    assert part_of(weight, weight) is weight


def test_batches_are_dealt_once_and_every_rank_has_as_many(monkeypatch: Any) -> None:
    for ranks in (1, 2, 3, 5):
        for count in (1, 2, 3, 4, 6, 7):
            shares = {}
            for collective in (False, True):
                for rank in range(ranks):
                    monkeypatch.setattr("alignlab.models.sharding.rank", lambda rank=rank: rank)
                    monkeypatch.setattr("alignlab.models.sharding.world_size", lambda ranks=ranks: ranks)
                    shares[collective, rank] = list(dealt(range(count), collective=collective))
                every = [shares[collective, rank] for rank in range(ranks)]
                assert sorted(batch for share in every for batch, counts in share if counts) == list(range(count))
            assert {len(shares[True, rank]) for rank in range(ranks)} == {-(-count // ranks)}
            assert all(counts for rank in range(ranks) for _, counts in shares[False, rank])
