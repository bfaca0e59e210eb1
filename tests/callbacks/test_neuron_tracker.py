"""The tracker in somebody else's Lightning script."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn

from alignlab.callbacks import NeuronTracker
from alignlab.data.records import Record
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.modules import find_model
from alignlab.neurons import ActivationCounts, Kind, ternary
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.recording.probes import build_probe

README = Path(__file__).parents[2] / "README.md"
ENGLISH = ["seven birds sing at night", "the fox is old", "12 hills", "nobody counts them", "run"]
GERMAN = ["sieben Vögel singen nachts", "der Fuchs ist alt", "12 Hügel", "niemand zählt sie", "lauf"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*exists and is not empty",
    "ignore:.*tensorboardX",
)


class SomebodysModule(L.LightningModule):
    """A user's own module: it knows nothing of alignlab."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.student = model

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.student(input_ids=batch, labels=batch).loss

    def train_dataloader(self) -> Any:
        torch.manual_seed(0)
        return torch.utils.data.DataLoader(torch.randint(3, 300, (6000, 6)), batch_size=2)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def blocks() -> dict[str, str]:
    """The README's Python examples by the comment above them."""
    return dict(re.findall(r"<!-- (\w+) -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL))


def trainer_options() -> dict[str, Any]:
    return {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False,
            "enable_checkpointing": False}  # fmt: skip


@pytest.mark.parametrize("option", ["", ", identifier=TernaryConfig(top_rate=0.2)"])
def test_the_readmes_three_lines_and_what_follows_them(
    tokenizer: Any,
    tiny_llama: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "english": ENGLISH,
        "german": GERMAN,
        "tokenizer": tokenizer,
        "Trainer": lambda **given: Trainer(**trainer_options(), **given),
        "TernaryConfig": TernaryConfig,
    }
    script = blocks()["script"]
    assert len([line for line in script.splitlines() if line.strip()]) == 3
    exec(script.replace(', trained=["de"]', f', trained=["de"]{option}'), names)  # noqa: S102
    names["trainer"].fit(SomebodysModule(tiny_llama))
    assert sorted(path.name for path in Path("runs/mine/neurons").glob("*.safetensors")) == [
        f"step-{step:06d}.safetensors" for step in (0, 100, 200, 300)
    ]
    printed = capsys.readouterr().out
    last_table = printed.partition("Neurons at step 300")[2]
    assert "trained: mean a language of de; reference: en" in last_table
    exec(blocks()["after"], names)  # noqa: S102
    shown = capsys.readouterr().out
    with Path("runs/mine/neurons.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["step"] == "300" and row["analysis"] == "kinds"]
    for kind in ("specific", "related", "general", "unassigned"):
        mine = {"kind": kind, "group": "all", "layer": "", "since": "", "thresholds": "anchored"}
        (row,) = [row for row in rows if mine.items() <= row.items()]
        assert re.findall(rf"^{kind} +(\S+)$", shown, re.MULTILINE) == [f"{float(row['value'])}"]
        assert re.findall(rf"^{kind} +(\d+)", last_table, re.MULTILINE) == [row["value"]]
        found = names["run"].classification(300).kinds() == Kind[kind.upper()]
        assert int(found.sum()) == int(row["value"])


class Listener(L.pytorch.loggers.Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int | None, dict[str, float]]] = []

    name = version = property(lambda self: "listener")  # type: ignore[assignment]

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "neurons/step" in metrics:
            self.logged.append((step, dict(metrics)))


def track(
    model: nn.Module, tokenizer: Any, folder: Path, **options: Any
) -> tuple[NeuronTracker, Listener, SomebodysModule]:
    listener = Listener()
    tracker = NeuronTracker({"en": ENGLISH, "de": GERMAN}, tokenizer, folder=folder, trained=["de"], **options)
    module = SomebodysModule(model)
    trainer = Trainer(max_steps=5, callbacks=[tracker], **{**trainer_options(), "logger": listener})
    trainer.fit(module)
    return tracker, listener, module


def test_snapshots_come_at_the_start_at_every_n_steps_and_at_the_end(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    _, listener, _ = track(tiny_llama, tokenizer, tmp_path, every_n_steps=2)
    assert [step for step, _ in listener.logged] == [0, 2, 4, 5]
    assert [values["neurons/step"] for _, values in listener.logged] == [0, 2, 4, 5]
    assert len({values["neurons/loss/de"] for _, values in listener.logged}) == 4


def test_a_second_training_does_not_mix_its_snapshots_with_those_of_a_first(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    track(tiny_llama, tokenizer, tmp_path, every_n_steps=2)
    (tmp_path / "neurons" / "step-best.safetensors").write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        InputError, match=r"it holds the snapshots of an earlier training, up to step 5.*overwrite=True"
    ):
        track(tiny_llama, tokenizer, tmp_path, every_n_steps=5)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    track(tiny_llama, tokenizer, tmp_path, every_n_steps=5, overwrite=True)
    names = {path.name for path in (tmp_path / "neurons").iterdir()}
    assert names == {
        "identifier.yaml", "step-best.safetensors",
        *(f"step-00000{step}.{suffix}" for step in (0, 5) for suffix in ("safetensors", "csv")),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "neurons.csv",
        "neurons/step-000000.csv",
        "neurons/step-000002.csv",
        "neurons/step-000000.safetensors",
        "neurons/identifier.yaml",
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_ones_own_are_not_replaced(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, name: str, overwrite: bool
) -> None:
    (tmp_path / "neurons").mkdir()
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=rf"it also holds {name}, which alignlab did not write"):
        track(tiny_llama, tokenizer, tmp_path, every_n_steps=2, overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(name).name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_weights_that_are_no_numbers_are_not_counted(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    class Diverging(SomebodysModule):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            if self.global_step == 1:
                next(self.parameters()).grad.fill_(torch.nan)  # type: ignore[union-attr]

    tracker = NeuronTracker({"en": ENGLISH, "de": GERMAN}, tokenizer, folder=tmp_path, every_n_steps=2)
    trainer = Trainer(max_steps=5, callbacks=[tracker], **trainer_options())
    with pytest.raises(InputError, match=r"step 2: .* trained tensors hold NaN or infinite values: model.embed_tokens"):
        trainer.fit(Diverging(tiny_llama))
    assert {path.name for path in (tmp_path / "neurons").iterdir()} == {
        "identifier.yaml", "step-000000.safetensors", "step-000000.csv"
    }  # fmt: skip


def test_with_no_interval_there_are_the_first_and_the_last(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    _, listener, _ = track(tiny_llama, tokenizer, tmp_path)
    assert [step for step, _ in listener.logged] == [0, 5]


def test_tracking_does_not_change_the_training(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    import copy

    watched, alone = copy.deepcopy(tiny_llama), copy.deepcopy(tiny_llama)
    track(watched, tokenizer, tmp_path, every_n_steps=1)
    Trainer(max_steps=5, **trainer_options()).fit(SomebodysModule(alone))
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("responses", ["generated_once", "regenerated"])
def test_a_model_that_answers_the_probe_itself_trains_as_one_that_does_not(
    responses: Any, tokenizer: Any, tiny_llama: Any, tmp_path: Path
) -> None:
    import copy

    texts = [
        Record(str(n), code, line) for code, lines in (("en", ENGLISH), ("de", GERMAN)) for n, line in enumerate(lines)
    ]
    probe = build_probe(texts, tokenizer, responses=responses, max_new_tokens=6)
    for layer in tiny_llama.model.layers:
        layer.self_attn.attention_dropout = 0.3
    watched, alone = copy.deepcopy(tiny_llama).train(), copy.deepcopy(tiny_llama).train()
    torch.manual_seed(3)
    tracker = NeuronTracker(probe, folder=tmp_path, every_n_steps=2, statistics=("documents", "maximum"))
    Trainer(max_steps=5, callbacks=[tracker], **trainer_options()).fit(SomebodysModule(watched))
    torch.manual_seed(3)
    Trainer(max_steps=5, **trainer_options()).fit(SomebodysModule(alone))
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    counts = [ActivationCounts.load(path) for path in sorted((tmp_path / "neurons").glob("*.safetensors"))]
    assert [count.step for count in counts] == [0, 2, 4, 5]
    assert len({count.data_fingerprint for count in counts}) == (1 if responses == "generated_once" else 4)
    assert all(count.maximum is not None and count.activation_sum is None for count in counts)
    names = sorted(path.name for path in (tmp_path / "neurons").glob("*.jsonl"))
    once = responses == "generated_once"
    assert names == (["responses.jsonl"] if once else [f"step-00000{step}.responses.jsonl" for step in (0, 2, 4, 5)])


def test_an_unknown_statistic_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="statistics: 'mean'; expected among documents, moments, maximum"):
        NeuronTracker({"en": ENGLISH, "de": GERMAN}, tokenizer, folder=tmp_path, statistics=("mean",))


def test_the_logged_counts_are_those_of_the_stored_file(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    from alignlab.neurons.identifiers import TernaryConfig

    _, listener, _ = track(tiny_llama, tokenizer, tmp_path, identifier=TernaryConfig(top_rate=0.3, bar=0.6))
    step, values = listener.logged[0]
    result = ternary(ActivationCounts.load(tmp_path / "neurons/step-000000.safetensors"), top_rate=0.3, bar=0.6)
    assert step == 0
    assert result.selected.sum() == round(0.3 * 2 * 48)
    specific = {code: int((result.sets[code] & (result.degree == 1)).sum()) for code in ("en", "de")}
    assert values["neurons/specific/en"] == specific["en"]
    assert values["neurons/trained/specific"] == specific["de"]
    assert values["neurons/reference/specific"] == specific["en"]
    assert values["neurons/specific"] == sum(specific.values())
    assert sum(specific.values()) > 0
    assert values["neurons/general"] == int((result.degree == 2).sum())
    # At the first snapshot the thresholds are its own.
    assert values["neurons/reestimated/specific"] == values["neurons/specific"]


def test_a_module_with_two_models_needs_to_be_told_which(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    import copy

    module = SomebodysModule(tiny_llama)
    assert find_model(module) is tiny_llama
    module.teacher = copy.deepcopy(tiny_llama)
    with pytest.raises(UnsupportedModelError) as refusal:
        find_model(module)
    assert str(refusal.value) == (
        "SomebodysModule: Hugging Face models found: student, teacher; expected one. "
        "Pass NeuronTracker(..., model=lambda module: module.student) or whatever it is called."
    )
    tracker = NeuronTracker({"en": ENGLISH, "de": GERMAN}, tokenizer, folder=tmp_path, model=lambda m: m.student)
    assert tracker.find_model(module) is tiny_llama


def test_a_compiled_model_is_counted_uncompiled(tiny_llama: Any) -> None:
    module = SomebodysModule(torch.compile(tiny_llama))  # type: ignore[arg-type]
    assert find_model(module) is tiny_llama


def test_texts_need_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="texts without a tokenizer"):
        NeuronTracker({"en": ENGLISH}, folder=tmp_path)


def test_a_selection_of_few_neurons_is_told_once(
    tokenizer: Any, tiny_llama: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = TernaryConfig(top_rate=0.3, bar=0.6)
    track(tiny_llama, tokenizer, tmp_path / "alone", identifier=few, every_n_steps=2)
    assert capsys.readouterr().err.count("warning: top_rate=0.3 selects 29 of 96 neurons") == 1
    track(tiny_llama, tokenizer, tmp_path / "planned", identifier=few, planned=True)
    assert capsys.readouterr().err == ""
