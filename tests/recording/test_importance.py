"""The record of importance against slow sums, ranks and intersections over documents; stopped, shared by two ranks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.manifest import verify
from alignlab.neurons.importance import Importance, Wanted, bytes_of, ranks
from alignlab.recording import importance as recording
from alignlab.recording.counting import Origin
from alignlab.recording.importance import record_importance
from alignlab.recording.pieces import make_batch
from alignlab.recording.removal import Removal

from ..scripts_as_modules import script_as_module
from .test_tallies import SHARDS, make_probe
from .test_two_ranks_tally import run_two

SITES = ("mlp.act", "attention.q", "attention.k", "attention.v", "attention.o")
WANTED = Wanted("removal", SITES)
RANKS = Path(__file__).with_name("one_of_two_ranks_importance.py")


def one_by_one(model: Any, probe: Any, language: str) -> list[tuple[int, Mapping[str, Tensor]]]:
    """Of each document with a counted token, its shard and its importance, alone in its batch."""
    measure = Removal(model, WANTED)
    with torch.no_grad():
        return [
            (
                int(probe.shards_of(language)[number]),
                measure.of(make_batch(probe, language, [number], torch.device("cpu")), nullcontext),
            )
            for number, document in enumerate(probe.documents[language])
            if probe.counted(document).any()
        ]


def top(values: Tensor, k: int) -> set[tuple[int, int]]:
    """The k most important neurons of each layer, of equal ones the first."""
    found = set()
    for layer, row in enumerate(values[0].tolist()):
        order = sorted(range(len(row)), key=lambda n: (-row[n], n))
        found |= {(layer, n) for n in order[:k]}
    return found


def test_totals_and_worst_ranks_are_those_of_a_loop_over_documents(tiny_llama: Any, tmp_path: Path) -> None:
    model, probe = tiny_llama.double(), make_probe(300)
    record = record_importance(model, WANTED, probe, tmp_path / "importance", origin=Origin("tiny", "r", 3, ("sw",)))
    assert (record.measure, record.model, record.step, record.trained_languages) == ("removal", "tiny", 3, ("sw",))
    assert record.shapes == {"mlp.act": (2, 48), **dict.fromkeys(SITES[1:], (2, 32))} | {
        "attention.k": (2, 16), "attention.v": (2, 16)
    }  # fmt: skip
    for language in probe.languages:
        documents = one_by_one(model, probe, language)
        assert 0 < len(documents) < len(probe.documents[language])
        numbers = [sum(shard == one for one, _ in documents) for shard in range(SHARDS)]
        assert record.documents(language).tolist() == numbers
        for site in SITES:
            total, worst = record.total(site, language), record.worst_rank(site, language)
            assert (total.dtype, worst.dtype) == (torch.float64, torch.int32)
            for shard in range(SHARDS):
                own = [values[site][0] for one, values in documents if one == shard]
                assert torch.allclose(total[shard], sum(own, torch.zeros_like(total[0])), rtol=1e-7)
            for k in (1, 3, 7, 15, 16, 40):
                everywhere = set.intersection(*(top(values[site], k) for _, values in documents))
                found = {(a, b) for a, b in (worst.amax(dim=0) < k).nonzero().tolist()}
                assert found == everywhere, (language, site, k)


def test_equal_ones_rank_by_their_index() -> None:
    values = torch.tensor([[3.0, 1.0, 3.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 5.0]])
    assert ranks(values).tolist() == [[0, 2, 1, 4, 3], [1, 2, 3, 4, 0]]


def test_a_stopped_recording_goes_on_with_the_next_language(
    tiny_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, folder = make_probe(300), tmp_path / "importance"
    unbroken = record_importance(tiny_llama, WANTED, probe, tmp_path / "unbroken")
    read: list[str] = []
    real = recording._read_language

    def stops_at_the_second(model: Any, measure: Any, probe: Any, language: str, *rest: Any) -> Any:
        read.append(language)
        if len(read) == 2:
            raise KeyboardInterrupt
        return real(model, measure, probe, language, *rest)

    monkeypatch.setattr(recording, "_read_language", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        record_importance(tiny_llama, WANTED, probe, folder)
    assert [path.name for path in folder.iterdir()] == ["language-0000.safetensors"]
    with pytest.raises(InputError, match="it holds something else"):  # half a record is none
        Importance.load(folder)
    (folder / "language-0001.safetensors.abcdef-1-0.partial").write_bytes(b"half")
    record_importance(tiny_llama, WANTED, probe, folder)
    assert read == ["en", "sw", "sw"]
    names = ["language-0000.safetensors", "language-0001.safetensors", "manifest.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert verify(folder) == []
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    record_importance(tiny_llama, WANTED, probe, folder)
    assert len(read) == 3  # nothing is recorded twice
    # What was damaged is made again, and so is what is of something else.
    whole = (folder / names[1]).read_bytes()
    (folder / names[1]).write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    record_importance(tiny_llama, WANTED, probe, folder)
    assert read[3:] == ["sw"]
    assert (folder / names[1]).read_bytes() == whole
    record_importance(tiny_llama, WANTED, probe, folder, origin=Origin("other"))
    record_importance(tiny_llama, Wanted("removal", ("mlp.act",)), make_probe(300, "all"), folder)
    assert read[4:] == ["en", "sw", "en", "sw"]
    assert Importance.load(folder).sites == ("mlp.act",)
    assert unbroken.sites == SITES


def test_what_it_takes_on_the_disk_is_known_before(tiny_llama: Any, tmp_path: Path) -> None:
    record = record_importance(tiny_llama, WANTED, make_probe(300), tmp_path / "importance")
    tensors = 0
    for language in record.languages:
        tensors += record.documents(language).nbytes
        tensors += sum(record.total(site, language).nbytes for site in SITES)
        tensors += sum(record.worst_rank(site, language).numel() for site in SITES)  # under 256 neurons a byte each
    assert bytes_of(record.shapes, 2, SHARDS) == tensors
    assert bytes_of({"mlp.act": (32, 14336)}, 10, 20) == 10 * (20 * (32 * 14336 * 10 + 8))
    assert repr(record) == (
        "<Importance by removal at mlp.act 2 x 48, attention.q 2 x 32, attention.k 2 x 16, attention.v 2 x 16, "
        "attention.o 2 x 32\n of 2 languages: en, sw>"
    )


def test_folders_and_models_that_cannot_be_recorded_are_refused(tiny_llama: Any, tmp_path: Path) -> None:
    probe = make_probe(300)
    with pytest.raises(InputError, match="Did you mean 'removal'"):
        record_importance(tiny_llama, Wanted("removel", SITES), probe, tmp_path / "importance")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"it also holds .*thesis\.txt"):
        record_importance(tiny_llama, WANTED, probe, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="it is a file"):
        record_importance(tiny_llama, WANTED, probe, tmp_path / "file")
    tiny_llama.model.layers[1].mlp.gate_proj.weight.data[:] = torch.inf
    with pytest.raises(InputError, match="diverged"):
        record_importance(tiny_llama, WANTED, probe, tmp_path / "importance", origin=Origin("tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("budget", [60, 10_000])  # some batches; one a language, so that a rank has none
def test_two_ranks_record_as_one(budget: int, model_folder: Path, tmp_path: Path) -> None:
    assert run_two(RANKS, model_folder, tmp_path, str(budget)) == [0, 0]
    two = Importance.load(tmp_path / "importance")
    one = script_as_module(RANKS).record(model_folder, tmp_path / "alone", budget)
    for language in ("en", "de"):
        assert torch.equal(two.documents(language), one.documents(language))
        for site in one.sites:
            assert torch.equal(two.worst_rank(site, language), one.worst_rank(site, language))
            assert torch.allclose(two.total(site, language), one.total(site, language), rtol=1e-12)
            assert one.total(site, language).sum() > 0
