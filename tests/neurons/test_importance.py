"""Files of importance come back as they were, and what is damaged or another thing is refused in one message."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alignlab.errors import InputError
from alignlab.manifest import write_manifest
from alignlab.neurons.importance import KIND, Importance, ImportanceHeader, language_file, save_language
from alignlab.neurons.options import PlndOptions

# By language, the importance of 2 layers of 300 neurons in each document.
Values = Mapping[str, torch.Tensor]


def write(folder: Path, ranks: Values, site: str = "mlp.act", shards: int = 2, **header: object) -> Importance:
    """A record of these worst ranks, (S, L, N) by language; totals are the ranks too, and a shard has two documents."""
    first = next(iter(ranks.values()))
    shape = {site: (first.shape[1], first.shape[2])}
    of = ImportanceHeader(
        measure="removal", options={}, shapes=shape, languages=tuple(ranks), shards=shards, scope="all",
        **header,  # type: ignore[arg-type]
    )  # fmt: skip
    for number, (language, worst) in enumerate(ranks.items()):
        documents = torch.full((shards,), 2 if worst.any() else 0)
        one = ImportanceHeader(**{**vars(of), "language": language})
        save_language(language_file(folder, number), one, {site: (worst.double(), worst)}, documents)
    write_manifest(folder, KIND)
    return Importance.load(folder)


@pytest.fixture
def record(tmp_path: Path) -> Importance:
    generator = torch.Generator().manual_seed(0)
    draws = {name: torch.rand(2, 2, 300, generator=generator).argsort(-1) for name in ("en", "a b/../c", "<zh>")}
    return write(tmp_path / "record", draws, model="m", step=4, reference="en", data_fingerprint="f")


def test_it_comes_back_as_it_was(record: Importance) -> None:
    assert record.languages == ("en", "a b/../c", "<zh>")
    assert (record.shapes, record.step, record.model) == ({"mlp.act": (2, 300)}, 4, "m")
    worst = record.worst_rank("mlp.act", "a b/../c")
    assert (worst.dtype, int(worst.max())) == (torch.int32, 299)
    assert torch.equal(record.total("mlp.act", "a b/../c").int(), worst)
    stored = load_file(record.files["en"])
    assert stored["worst_rank.mlp.act"].dtype == torch.uint16


def _flipped(folder: Path) -> None:
    path = folder / "language-0001.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])


def _short(folder: Path) -> None:
    path = folder / "language-0001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _other_text(folder: Path) -> None:
    write(folder.parent / "other", {"a": torch.ones(2, 2, 300), "a b/../c": torch.ones(2, 2, 300)})
    shutil.copy(folder.parent / "other/language-0001.safetensors", folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, KIND)


def _swapped(folder: Path) -> None:
    shutil.copy(folder / "language-0000.safetensors", folder / "language-0001.safetensors")
    (folder / "manifest.json").unlink()
    write_manifest(folder, KIND)


def _pickled(folder: Path) -> None:
    torch.save({"a": 1}, folder / "language-0001.safetensors")
    (folder / "manifest.json").unlink()
    write_manifest(folder, KIND)


def _foreign(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "language-0001.safetensors")
    (folder / "manifest.json").unlink()
    write_manifest(folder, KIND)


def _without_list(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _half_list(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:40])


def _missing(folder: Path) -> None:
    (folder / "language-0002.safetensors").unlink()


def _fewer(folder: Path) -> None:
    _missing(folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, KIND)


def _counts(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "table.csv").write_text("")


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_flipped, "checksum does not fit"),
        (_short, "is not as it was written"),
        (_other_text, "one file of each language of one record"),
        (_swapped, "one file of each language of one record"),
        (_pickled, "a whole file of importance"),
        (_foreign, "its header has the format None"),
        (_without_list, "record of importance"),
        (_half_list, "not the list of files"),
        (_missing, "language-0002.safetensors is missing"),
        (_fewer, "one file of each language of one record"),
        (_counts, "record of importance"),
        (_a_file, "there is no such folder"),
        (_empty, "record of importance"),
    ],
)
def test_what_is_torn_damaged_or_something_else_is_refused(
    record: Importance, change: Callable[[Path], None], message: str
) -> None:
    folder = record.files["en"].parent
    change(folder)
    with pytest.raises(InputError, match=message) as refusal:
        Importance.load(folder).total("mlp.act", "a b/../c")
    assert len(refusal.value.problems) == 1


def test_sites_languages_and_shapes_that_are_not_there_are_refused(record: Importance, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'attention\.q'; expected one of mlp\.act"):
        record.total("attention.q", "en")
    with pytest.raises(InputError, match="'em'; expected one of en, a b"):
        record.documents("em")
    with pytest.raises(InputError, match="shards, layers and neurons"):
        write(tmp_path / "bad", {"en": torch.ones(3, 2, 300)})


@pytest.mark.parametrize(
    "options",
    [
        {"ffn": 0},
        {"attention": -1},
        {"ffn": 1.5},
        {"sites": []},
        {"sites": ["mlp.act", "mlp.act"]},
        {"sites": ["residual"]},
        {"sites": ["mlp.out"]},
        {"sites": "mlp.act"},
        {"top_rate": 0.01},
    ],
)
def test_options_of_plnd_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="1 validation error for PlndOptions"):
        PlndOptions(**options)  # type: ignore[arg-type]
