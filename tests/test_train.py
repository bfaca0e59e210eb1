"""The main job, run as a user runs it, on the model and the data in the package."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import transformers

import alignlab.train
from alignlab import load_run
from alignlab.config import shipped_configs
from alignlab.manifest import verify
from alignlab.methods.base import AlignmentModule
from alignlab.models import load
from alignlab.models.adapters import ModelLoader
from alignlab.models.load import DEMO_FOLDER, ModelConfig
from alignlab.neurons import ActivationCounts, lape, ternary

SMALL = (
    "config=demo", "trainer.max_steps=6", "tracker.every_n_steps=2", "probe.max_texts=8", "probe.source.count=8",
    "data.train.count=40", "data.examples_per_step=8", "wandb.mode=disabled", "probe.source.languages=[en,de,zh,sw]",
    "evaluation=null",
)  # fmt: skip
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`alignlab.train` with the given arguments, in an empty folder: exit status, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        status = alignlab.train.main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_leaves_snapshots_checkpoints_and_numbers(command: Command, tmp_path: Path) -> None:
    status, printed, complaints = command(*SMALL)
    assert (status, complaints) == (0, "")
    folder = tmp_path / "runs" / "demo"
    steps = (0, 2, 4, 6)
    assert sorted(path.name for path in (folder / "neurons").glob("*.safetensors")) == [
        f"step-{step:06d}.safetensors" for step in steps
    ]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [f"step-{s:06d}" for s in steps[1:]]
    assert printed.index("Plan of demo") < printed.index("Neurons at step 0") < printed.index("Neurons at step 6")
    for text in (
        "trained: mean a language of de zh; reference: en",
        "unseen (no prompts in training): of sw",
        str(Path("runs/demo")),
    ):
        assert text in printed
    losses = {
        int(row["step"]): float(row["value"]) for row in rows(folder / "metrics.csv") if row["key"] == "train/loss"
    }
    assert list(losses) == [1, 2, 3, 4, 5, 6]
    # Nothing that depends on the clock: the file is the same, byte for byte, of a run that was continued.
    sections = {row["key"].partition("/")[0] for row in rows(folder / "metrics.csv")}
    assert sections == {"train", "neurons"}
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["data_fingerprint"]

    # The published counts, again from the stored file with nothing of the tracker's code.
    first = ActivationCounts.load(folder / "neurons" / "step-000000.safetensors")
    last = ActivationCounts.load(folder / "neurons" / "step-000006.safetensors")
    assert last.trained_languages == ("zh", "de")
    anchor = ternary(first, top_rate=0.1)
    results = {
        "anchored": ternary(last, top_rate=0.1, lambda_=anchor.lambda_, threshold=anchor.threshold, cut=anchor.cut),
        "reestimated": ternary(last, top_rate=0.1),
    }
    table = [row for row in rows(folder / "neurons.csv") if row["step"] == "6"]
    for thresholds, result in results.items():
        for code, kind in (("de", "specific"), ("sw", "related")):
            degree_fits = result.degree == 1 if kind == "specific" else (result.degree > 1) & (result.degree < 4)
            expected = int((result.selected & degree_fits & result.above[code]).sum())
            found = [
                row for row in table
                if (row["thresholds"], row["language"], row["kind"], row["since"]) == (thresholds, code, kind, "")
            ]  # fmt: skip
            assert [float(row["value"]) for row in found] == [expected]
    logged = {row["key"]: float(row["value"]) for row in rows(folder / "metrics.csv") if row["step"] == "6"}
    assert logged["neurons/general"] == int(results["anchored"].general.sum())
    assert logged["neurons/step"] == 6
    assert last.loss_sum is not None
    assert last.loss_tokens is not None
    for index, code in enumerate(last.languages):
        assert logged[f"neurons/loss/{code}"] == float(last.losses()[index])


def test_another_identifier_by_name(command: Command, tmp_path: Path) -> None:
    status, printed, _ = command(*SMALL, "identifier.name=lape")
    assert status == 0
    first, last = (
        ActivationCounts.load(tmp_path / f"runs/demo/neurons/step-{step:06d}.safetensors") for step in (0, 6)
    )
    anchor = lape(first, top_rate=0.1)
    result = lape(last, top_rate=0.1, threshold=anchor.threshold, cut=anchor.cut)
    assert (
        f"{int(result.selected.sum())} selected, tau {anchor.threshold:.4f}, score {anchor.thresholds['score']:.4f}\n"
        in printed
    )
    assert "since step 0, at its tau and score;" in printed
    found = [
        float(row["value"])
        for row in rows(tmp_path / "runs/demo/neurons.csv")
        if (row["step"], row["thresholds"], row["language"], row["kind"], row["since"])
        == ("6", "anchored", "sw", "specific", "")
    ]
    assert found == [int((result.sets["sw"] & (result.degree == 1)).sum())]
    assert found[0] > 0


def test_a_checkpoint_reloads_through_peft_to_identical_logits(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    monkeypatch.setattr(AlignmentModule, "on_train_end", lambda self: trained.append(self.model), raising=False)
    assert command(*SMALL)[0] == 0
    base = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        untouched = base(input_ids=ids).logits
        reloaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "runs/demo/checkpoints/step-000006")).eval()
        again = reloaded(input_ids=ids).logits
        expected = trained[0].eval()(input_ids=ids).logits
    assert torch.equal(again, expected)
    assert not torch.allclose(again, untouched, atol=1e-3)
    # Beside it lies what training goes on from: trained weights only, loadable without executing anything.
    state = torch.load(tmp_path / "runs/demo/checkpoints/step-000006/trainer.ckpt", weights_only=True)
    assert state["state_dict"]
    assert all("lora_" in name for name in state["state_dict"])


@pytest.mark.parametrize("trainable", ["lora", "full"])
def test_the_demo_model_is_named_and_not_where_it_lies(command: Command, tmp_path: Path, trainable: str) -> None:
    assert command(*SMALL, f"method.trainable={trainable}")[0] == 0
    checkpoint = tmp_path / "runs/demo/checkpoints/step-000006"
    places = [str(DEMO_FOLDER).encode(), str(DEMO_FOLDER.parents[3]).encode() + b"/"]  # in the checkout, and that
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if any(place in path.read_bytes() for place in places)] == []
    assert ActivationCounts.load(tmp_path / "runs/demo/neurons/step-000006.safetensors").model == "builtin:demo"
    assert verify(checkpoint) == []
    if trainable == "lora":
        loader = ModelLoader(ModelConfig(), base_given=False)
        assert loader.below(str(checkpoint)).folder == DEMO_FOLDER
        loader.load(str(checkpoint))


def test_full_fine_tuning_saves_a_model_that_transformers_loads(command: Command, tmp_path: Path) -> None:
    assert command(*SMALL, "method.trainable=full", "method.optimizer.lr=1e-4")[0] == 0
    folder = tmp_path / "runs/demo/checkpoints/step-000006"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    before = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    pairs = list(zip(model.parameters(), before.parameters(), strict=True))
    assert all(not torch.equal(new, old) for new, old in pairs)
    assert transformers.AutoTokenizer.from_pretrained(folder).eos_token_id is not None


def test_step_0_counts_are_those_of_the_untouched_model(command: Command, tmp_path: Path) -> None:
    """LoRA starts at zero: the first snapshot is the base model's, whatever the method."""
    assert command(*SMALL, "trainer.max_steps=1", "run.name=lora")[0] == 0
    assert command(*SMALL, "trainer.max_steps=1", "run.name=full", "method.trainable=full")[0] == 0
    one, other = (
        safetensors.torch.load_file(tmp_path / f"runs/{name}/neurons/step-000000.safetensors")
        for name in ("lora", "full")
    )
    assert one["firings"].long().sum() > 0
    assert torch.equal(one["firings"].long(), other["firings"].long())


def test_dry_run_writes_nothing(command: Command, tmp_path: Path) -> None:
    status, printed, _ = command(*SMALL, "dry_run=true")
    assert status == 0
    assert "nothing was written" in printed
    assert files(tmp_path) == []


def test_without_arguments_it_says_what_it_can_do_and_starts_nothing(command: Command, tmp_path: Path) -> None:
    status, printed, complaints = command()
    assert (status, complaints) == (0, "")
    assert "config=demo" in printed
    assert "--help" in printed
    assert files(tmp_path) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is about machines without a GPU")
def test_a_dry_run_needs_no_gpu_that_the_config_asks_for(command: Command, tmp_path: Path) -> None:
    asked = ("trainer.accelerator=gpu", "trainer.devices=8", "trainer.strategy=ddp")
    status, printed, complaints = command(*SMALL, "dry_run=true", *asked)
    assert status == 0, complaints
    assert "there is no GPU here" in complaints
    assert "Plan of demo" in printed
    assert command(*SMALL, *asked)[0] == 2
    assert files(tmp_path) == []


def test_a_selection_of_no_neuron_is_refused_before_a_model_is_loaded(command: Command, tmp_path: Path) -> None:
    status, _, complaints = command(*SMALL, "identifier.top_rate=1e-9")
    assert status == 2
    assert "identifier.top_rate: 1e-09 of 2560 neurons rounds to a selection of none" in complaints
    assert files(tmp_path) == []


def test_a_dry_run_says_what_would_be_refused_where_another_run_lies(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "demo"
    first = command(*SMALL, "trainer.max_steps=1", "tracker.every_n_steps=1")
    assert first[0] == 0, first[2]
    before = files(folder)
    status, printed, complaints = command(*SMALL, "seed=3", "dry_run=true")
    assert status == 0
    assert "Plan of demo" in printed
    assert "would be refused" in complaints
    assert "seed" in complaints
    assert files(folder) == before


def test_a_finished_run_is_shown_again_and_another_config_refused(command: Command, tmp_path: Path) -> None:
    assert command(*SMALL)[0] == 0
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    status, printed, _ = command(*SMALL)
    assert status == 0
    assert "holds this run, finished" in printed
    status, _, complaint = command(*SMALL, "method.lora.rank=3", "seed=4")
    assert status == 2
    assert "different are seed" in complaint
    assert "method.lora.rank" in complaint
    assert "overwrite=true" in complaint
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    assert command(*SMALL, "method.lora.rank=3", "overwrite=true")[0] == 0
    adapter = json.loads((tmp_path / "runs/demo/checkpoints/step-000006/adapter_config.json").read_text())
    assert adapter["r"] == 3


class InterruptionError(Exception):
    pass


def run_whole_and_broken(command: Command, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """The run of these options in `whole`, and in `broken` interrupted in its fourth step and continued."""
    assert command(*options, "run.folder=whole")[0] == 0
    step = AlignmentModule.training_step

    def fail(self: AlignmentModule, batch: Any, batch_idx: int) -> Any:
        if int(batch["number"]) == 7:  # in the fourth step: step 2 is the last checkpoint
            raise InterruptionError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(AlignmentModule, "training_step", fail)
        with pytest.raises(InterruptionError):
            command(*options, "run.folder=broken")
    assert not Path("broken/finished.json").exists()
    status, printed, _ = command(*options, "run.folder=broken")
    assert status == 0
    assert "Continuing after step 2." in printed


def test_an_interrupted_run_continues_to_the_same_end(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*SMALL, "method.lora.dropout=0.2", "trainer.accumulate_grad_batches=2")
    run_whole_and_broken(command, monkeypatch, *options)
    for name in ("checkpoints/step-000006/adapter_model.safetensors", "metrics.csv", "neurons.csv"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    for step in (0, 2, 4, 6):
        name = f"neurons/step-{step:06d}.safetensors"  # the order of safetensors' header is not fixed
        one, other = (ActivationCounts.load(tmp_path / run / name) for run in ("broken", "whole"))
        assert torch.equal(one.firings.long(), other.firings.long())
        assert one.data_fingerprint == other.data_fingerprint


@pytest.mark.slow
def test_only_the_neurons_of_a_run_are_trained_and_continued_to_the_same_end(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*SMALL, "trainer.max_steps=2", "run.folder=runs/counted")[0] == 0
    trained = ("method.trainable=neurons", "method.neurons.run=runs/counted", "method.neurons.languages=[de,sw]")
    strict = ("method.optimizer.weight_decay=0.1", "trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=2")
    run_whole_and_broken(command, monkeypatch, *SMALL, *trained, *strict)
    checkpoints = [tmp_path / run / "checkpoints/step-000006" for run in ("whole", "broken")]
    whole, broken = (safetensors.torch.load_file(folder / "model.safetensors") for folder in checkpoints)
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], value) for name, value in broken.items())
    for name in ("metrics.csv", "neurons.csv"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

    sets = load_run("runs/counted").sets(0)
    chosen = sets["de"] | sets["sw"]
    assert chosen.any()
    assert not torch.equal(chosen, sets.union())
    base = safetensors.torch.load_file(DEMO_FOLDER / "model.safetensors")
    for name, value in base.items():
        changed = whole[name] != value
        layer = int(name.split(".")[2]) if ".mlp." in name else 0
        rows_of = {"gate_proj": changed, "up_proj": changed, "down_proj": changed.t()}.get(name.split(".")[-2])
        if rows_of is None:
            assert not changed.any(), name
        else:
            assert torch.equal(rows_of.any(1), chosen[layer]), name
    # What training goes on from knows these rows alone; what is loaded is a plain model.
    state = torch.load(checkpoints[0] / "trainer.ckpt", weights_only=True)
    width, neurons = base["model.embed_tokens.weight"].shape[1], int(chosen.sum())
    assert sum(value.numel() for value in state["state_dict"].values()) == 3 * width * neurons
    assert whole.keys() == base.keys()
    transformers.AutoModelForCausalLM.from_pretrained(checkpoints[0])

    # With other neurons it is another run, though its config says the same.
    step = "neurons/step-000000.safetensors"
    counts = ActivationCounts.load(tmp_path / "runs/counted" / step)
    (tmp_path / "whole/finished.json").unlink()
    dataclasses.replace(counts, firings=counts.firings.flip(-1)).save(tmp_path / "runs/counted" / step)
    status, _, complaints = command(*SMALL, *trained, *strict, "run.folder=whole")
    assert status == 2
    assert "method.neurons: the neurons that are trained changed since" in complaints


def test_a_base_in_4_bits_is_for_adapters_and_a_dry_run_tells_where_it_cannot_be(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    four_bits = (*SMALL, "model.four_bit=true")
    status, printed, complaints = command(*four_bits, "dry_run=true")
    assert status == 0
    assert "Plan of demo" in printed
    assert "note: without dry_run this would be refused: model.four_bit: true, but bitsandbytes" in complaints
    status, _, complaints = command(*four_bits)
    assert status == 2
    assert complaints.count("model.four_bit: true, but bitsandbytes and accelerate not installed") == 1
    status, _, complaints = command(*four_bits, "method.trainable=full")
    assert status == 2
    assert "method.trainable: full, and model.four_bit is true; expected lora" in complaints


def test_a_dry_run_tells_what_trains_of_some_neurons(command: Command, tmp_path: Path) -> None:
    assert command(*SMALL, "trainer.max_steps=1", "run.folder=runs/counted", "tracker.loss=false")[0] == 0
    of_run = ("method.trainable=neurons", "method.neurons.run=runs/counted", "dry_run=true")
    chosen = int(load_run("runs/counted").sets(0).union().sum())
    for control in ("none", "random", "matched"):
        status, printed, _ = command(*SMALL, *of_run, f"method.neurons.control={control}")
        assert status == 0
        assert f"{3 * 160 * chosen:,} (" in printed  # the demo model is 160 wide
    status, _, complaints = command(*SMALL, *of_run, "method.neurons.run=runs/conted")
    assert status == 2
    assert "method.neurons.run: there is no folder runs/conted" in complaints
    assert "Did you mean 'counted'?" in complaints


def test_help_names_every_fixed_key(command: Command) -> None:
    status, printed, _ = command("--help")
    assert status == 0
    for key in (
        "dry_run", "resume", "overwrite", "run.folder", "data.root", "model.source", "method.lora.rank",
        "method.lora.targets", "trainer", "tracker.every_n_steps", "probe.max_texts",
    ):  # fmt: skip
        assert key in printed, key


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in shipped_configs()
        if not name.startswith(
            ("agreement", "base/", "evaluate", "experiments/", "interventions/", "paper", "prepare", "study")
        )
    ],
)
def test_every_shipped_config_dry_runs(command: Command, name: str, tmp_path: Path, data_root: Path) -> None:
    arguments = [f"config={name}", "dry_run=true", f"data.root={data_root}"]
    if name == "demo_preference":
        arguments.append(f"data.train.path={data_root}/pairs.jsonl")
    before = files(tmp_path)
    status, printed, complaint = command(*arguments)
    assert (status, complaint) == (0, "")
    assert "Plan of" in printed
    assert files(tmp_path) == before


@pytest.fixture
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as local_files expects, with a few lines of text."""
    root = tmp_path_factory.mktemp("data")
    for code in ("de", "sw", "zh"):
        (root / f"{code}-en").mkdir()
        (root / f"{code}-en/train.{code}").write_text(f"{code} eins\n{code} zwei\n", encoding="utf-8")
        (root / f"{code}-en/train.en").write_text("one\ntwo\n", encoding="utf-8")
        (root / "gsm8k_questions").mkdir(exist_ok=True)
        (root / f"gsm8k_questions/{code}-en.{code}").write_text(f"{code} eins\n{code} zwei\n", encoding="utf-8")
        (root / f"gsm8k_questions/{code}-en.en").write_text("one\ntwo\n", encoding="utf-8")
    (root / "mgsm").mkdir()
    for code in ("bn", "de", "en", "sw", "te", "zh"):
        (root / f"mgsm/{code}.tsv").write_text(f"Frage in {code}?\t3\nUnd noch eine?\t4\n", encoding="utf-8")
    pair = {"id": "0", "question": "0", "prompt": "1 + 1?", "chosen": "2", "rejected": "3"}
    lines = [json.dumps({**pair, "language": code}) for code in ("zh", "de")]
    (root / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return root


def test_a_secret_of_the_environment_is_not_stored(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that YAML quotes and folds."""
    secret = "it's ${a \\secret} " + "word " * 40 + "end"
    monkeypatch.setenv("MY_API_KEY", secret)
    assert command(*SMALL, "trainer.max_steps=1", "data.prompts.system=${oc.env:MY_API_KEY}")[0] == 0
    stored = (tmp_path / "runs/demo/config.yaml").read_text(encoding="utf-8")
    assert "<MY_API_KEY hidden>" in stored
    assert "word word" not in stored
