"""Input that nobody means, from each side: refused with a message, at once, and never read as something it is not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import alignlab.analyze
import alignlab.report
from alignlab import load_run
from alignlab.config import load
from alignlab.data.sources import Files, Hub, ParallelText
from alignlab.errors import MOST, InputError, Problem, refuse_any
from alignlab.models.load import DEMO_FOLDER, ModelConfig
from alignlab.models.sites import find_sites
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.neurons.formats import load_arithmetic_counts, load_lape_counts
from alignlab.neurons.table import Row, csv_text, read_csv, write_csv
from alignlab.options import TrainConfig
from alignlab.run_plan import RunPlan

FIRINGS = torch.tensor([[5, 0, 10], [7, 3, 7]])


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as refused:
        call()
    return str(refused.value)


# Settings

TRAINER = {
    "accumulate_grad_batches=2.7": "an integer, at least 1",
    "accumulate_grad_batches=text": "an integer, at least 1",
    "accumulate_grad_batches=null": "an integer, at least 1",
    "accumulate_grad_batches=-1": "an integer, at least 1",
    "max_time=[1, 2]": "text such as 00:12:00:00 or a mapping of some of weeks, days, hours, minutes, seconds to",
    "max_time={days: 1, months: 2}": "a mapping of some of weeks, days",
    "max_time=99999999999999999999:00:00:00": "text such as 00:12:00:00",
    "max_time={days: 99999999999}": "at most 1000000",
    "gradient_clip_val=.nan": "a number, at least 0",
    "gradient_clip_val=.inf": "a number, at least 0",
    "log_every_n_steps=0": "an integer, at least 1",
    "accelerator=tpu": "one of 'auto', 'cpu', 'gpu', 'cuda', 'mps'",
    "max_steps=1000000000000": "at most 1000000000",
    "max_epochs=1e30": "at most 1000000000",
    "num_nodes=99999999999": "at most 100000",
}


@pytest.mark.parametrize("argument", TRAINER)
def test_arguments_of_the_trainer(argument: str) -> None:
    message = refusal(lambda: load(TrainConfig, [f"trainer.{argument}"]))
    assert message.startswith(f"command line: trainer.{argument.partition('=')[0]} is ")
    assert TRAINER[argument] in message


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ["trainer.max_steps=1000000000", "tracker.every_n_steps=1"],
            "tracker.every_n_steps: 1 of 1,000,000,000 steps",
        ),
        (
            ["trainer.max_steps=1000000000", "tracker.every_n_steps=null", "checkpoints.every_n_steps=10"],
            "checkpoints.every_n_steps: 10 of 1,000,000,000 steps, so 100,000,000 times; expected at most 1,000,000",
        ),
        (["trainer.max_epochs=999999999", "data.examples_per_step=1"], "trainer.max_epochs: 999999999 are "),
    ],
)
def test_more_steps_than_anyone_takes(argv: list[str], says: str) -> None:
    plan = RunPlan(load(TrainConfig, argv)[0])
    assert says in refusal(lambda: (plan.snapshot_steps(), plan.checkpoint_steps()))


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", ".", "a\u202eb", "a\nb", "a\x1b[31mb", "x" * 256, "\ud83d/"])
def test_names_that_are_no_folder_of_their_own(name: str) -> None:
    assert "run.name is" in refusal(lambda: load(TrainConfig, [f"run.name={name}"]))


@pytest.mark.parametrize("text", ["run:\n  <<: *a\n", "<<: {seed: 3}\n", "run: {<<: [{name: x}]}\n"])
def test_merge_keys_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"seed: &a 1\n{text}")
    assert "a merge key (<<), which would copy" in refusal(lambda: load(TrainConfig, [f"config={tmp_path}/a.yaml"]))
    (tmp_path / "a.yaml").write_text('wandb:\n  tags: ["<<", "x"]\n')
    assert load(TrainConfig, [f"config={tmp_path}/a.yaml"])[0].wandb.tags == ["<<", "x"]


def test_interpolations_nested_too_deep() -> None:
    assert "its ${...} cannot be read" in refusal(lambda: load(TrainConfig, [f"run.name={'${' * 500}seed{'}' * 500}"]))


def test_a_message_stays_short() -> None:
    message = refusal(lambda: refuse_any([Problem("w" * 10**6, "f" * 10**6)] * 10**5))
    assert len(message.splitlines()) == MOST + 1
    assert message.endswith("and 99,980 more.")
    assert len(message) < 100_000


# Text

TEXTS = {
    "UTF-16 without a mark": ("hello\nyou\n".encode("utf-16-le"), ":1: a NUL character; .*iconv -f UTF-16LE"),
    "a NUL further down": (b"a\nb\0\n", ":2: a NUL character"),
    "lines that end with CR": (b"one\rtwo\rthree\r", "its lines end with CR alone; .*tr "),
    "a document of a million letters": (b"a\n" + b"b" * 1_000_001, ":2: .* 1,000,001 characters"),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("source", ["files", "parallel_text"])
def test_text_that_was_meant_otherwise(kind: str, source: str, tmp_path: Path) -> None:
    content, says = TEXTS[kind]
    for name in ("en.txt", "de.txt"):
        (tmp_path / name).write_bytes(content)
    place = str(tmp_path / "{language}.txt")
    made = Files(path=place, languages=["de"])
    if source == "parallel_text":
        made = ParallelText(source=place, target=f"{tmp_path}/en.txt", languages=["de"])  # type: ignore[assignment]
    with pytest.raises(InputError, match=says):
        made.load()


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_text_with_a_stray_cr_is_text(end: str, tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_bytes(f"one\rhalf{end or chr(10)}two{end}".encode())
    assert [record.prompt for record in Files(path=str(tmp_path)).load()] == ["one\rhalf", "two"]


ROWS = {
    "5,000 digits": ('{"q": "a", "z": ' + "9" * 5000 + "}", "a number of thousands of digits"),
    "levels": ('{"q": "a", "z": ' + "[" * 100_000 + "}", "nested too deep"),
    "not a number": ('{"q": NaN}', "column 'q' holds nan"),
    "NUL": (r'{"q": "a\u0000"}', "column 'q' holds a NUL character"),
    "no id": ('{"q": "a", "i": " "}', "the document's id is empty"),
    "an id again": ('{"q": "a", "i": 1}\n{"q": "b", "i": 2}\n{"q": "c", "i": "1"}', r":3: the id '1' .*de\.jsonl:1"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_json(kind: str, tmp_path: Path) -> None:
    text, says = ROWS[kind]
    (tmp_path / "de.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        Files(path=str(tmp_path), prompt="q", id="i" if '"i"' in text else None).load()


def test_ids_of_a_data_set_and_its_text(tmp_path: Path) -> None:
    def rows(*rows: dict[str, Any]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return refusal(Hub(path=str(folder), languages=["de"], prompt="q", id="i").load)

    assert "row 1: the id '7' is that of another document" in rows({"q": "a", "i": 7}, {"q": "b", "i": 7})
    assert "holds None; expected text or a number" in rows({"q": "a", "i": None})
    assert "holds a NUL character" in rows({"q": "a\0", "i": 1})
    assert "cannot be loaded" in refusal(Hub(path="", languages=["de"]).load)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        return path

    assert "cannot be read" in refusal(Files(path=str(make("de.txt")), languages=["de"]).load)
    make("activation.en.t")
    assert "cannot be read" in refusal(lambda: load_lape_counts(tmp_path, ["en"]))
    for suffix in ("json", "txt", "pt"):
        path = make(f"sets.{suffix}")
        assert "cannot be read" in refusal(lambda path=path: NeuronSets.load(path, ["en"], 5, 2))


# Published counts and sets

NAN = float("nan")
COUNTS: dict[str, tuple[Callable[[], Any], int, str]] = {
    "sparse": (FIRINGS.to_sparse, 100, "not dense"),
    "CSR": (FIRINGS.to_sparse_csr, 100, "not dense"),
    "quantised": (lambda: torch.quantize_per_tensor(FIRINGS.float(), 1.0, 0, torch.quint8), 100, "not dense"),
    "nested": (lambda: torch.nested.nested_tensor([FIRINGS[0].float(), FIRINGS[1].float()]), 100, "not dense"),
    "meta": (lambda: FIRINGS.to("meta"), 100, "without its numbers"),
    "float8": (lambda: FIRINGS.float().to(torch.float8_e4m3fn), 100, "float8_e4m3fn"),
    "complex": (lambda: FIRINGS.to(torch.complex64), 100, "complex64"),
    "a mask": (lambda: FIRINGS > 3, 100, "torch.bool"),
    "repeated": (lambda: torch.zeros(1).expand(10**6, 10**7), 100, "of which it holds 4 bytes"),
    "stalled float32": (
        lambda: torch.tensor([[3.0, 2.0**24]]),
        2**25,
        "16777216 in float32, which cannot count beyond",
    ),
    "stalled float16": (lambda: torch.tensor([[3.0, 2048]]).half(), 5000, "2048 in float16, which cannot count beyond"),
    "stalled bfloat16": (lambda: torch.tensor([[3.0, 256]]).bfloat16(), 500, "256 in bfloat16, which cannot count"),
    "wrapped uint8": (lambda: torch.tensor([[3, 44]], dtype=torch.uint8), 300, "uint8, which cannot count the 300"),
    "wrapped int8": (lambda: torch.tensor([[3, 44]], dtype=torch.int8), 128, "beyond 127 it begins again"),
    "wrapped int16": (lambda: torch.tensor([[3, 44]], dtype=torch.int16), 40_000, "beyond 32,767 it begins again"),
}
SOUND = {
    torch.uint8: 255, torch.int8: 127, torch.uint16: 65_535, torch.uint32: 100, torch.uint64: 100, torch.int64: 100,
    torch.float16: 5000, torch.bfloat16: 500, torch.float32: 2**25, torch.float64: 2**25,
}  # fmt: skip


def save_lape(folder: Path, firings: Any, tokens: Any, **more: Any) -> Path:
    torch.save({"n": tokens, "over_zero": firings, **more}, folder / "activation.en.t")
    return folder


@pytest.mark.parametrize("kind", COUNTS)
def test_counters_that_cannot_have_counted(kind: str, tmp_path: Path) -> None:
    make, tokens, says = COUNTS[kind]
    message = refusal(lambda: load_lape_counts(save_lape(tmp_path, make(), tokens), ["en"]))
    assert says in message
    assert "activation.en.t, over_zero: " in message


@pytest.mark.parametrize("dtype", SOUND)
def test_counters_that_can_have_counted(dtype: torch.dtype, tmp_path: Path) -> None:
    counts = load_lape_counts(save_lape(tmp_path, FIRINGS.to(dtype), SOUND[dtype]), ["en"])
    assert torch.equal(counts.totals()[0], FIRINGS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_float_stalls_where_its_refusal_says(dtype: torch.dtype, tmp_path: Path) -> None:
    most = {torch.float16: 2**11, torch.bfloat16: 2**8, torch.float32: 2**24}[dtype]
    assert torch.tensor(most, dtype=dtype) + 1 == most  # what a counter does there
    assert torch.tensor(most - 1, dtype=dtype) + 1 == most
    folder = save_lape(tmp_path, torch.tensor([[most - 1]]).to(dtype), 2 * most)
    assert load_lape_counts(folder, ["en"]).totals().tolist() == [[[most - 1]]]


@pytest.mark.parametrize(
    "tokens", [NAN, 10**400, -1, 2 + 0j, torch.tensor(NAN), torch.tensor(5).to("meta"), torch.tensor([1, 2])]
)
def test_tokens_that_are_no_number(tokens: Any, tmp_path: Path) -> None:
    message = refusal(lambda: load_lape_counts(save_lape(tmp_path, FIRINGS, tokens), ["en"]))
    assert "total_tokens or n: " in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("mean", "times", "says"),
    [
        (torch.ones(2, 3).to_sparse(), torch.ones(2, 3), "average_activations: a tensor that is not dense"),
        (torch.ones(2, 3).to(torch.complex64), torch.ones(2, 3), "average_activations: a tensor of torch.complex64"),
        (torch.ones(2, 3), torch.ones(2, 3) * NAN, "activation_counts: values that are no whole numbers"),
        (torch.ones(2, 3), -torch.ones(2, 3), "activation_counts: -1"),
    ],
)
def test_means_and_their_counts(mean: torch.Tensor, times: torch.Tensor, says: str, tmp_path: Path) -> None:
    folder = save_lape(tmp_path, FIRINGS, 100, average_activations=mean, activation_counts=times)
    assert says in refusal(lambda: load_arithmetic_counts(folder, ["en"]))


@pytest.mark.parametrize("size", [-1, 0, 2.5, "5", True, NAN, 10**12, 10**30])
def test_sizes_that_no_model_has(size: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"module_name": "mlp.gate_proj", "layer_idx": 0, "neuron_idx": 1}]')
    (tmp_path / "a.txt").write_text("{0: {1}}\n" * 5)
    for name in ("a.json", "a.txt"):
        for sizes, wrong in (((size, 2), "num_neurons"), ((5, size), "num_layers")):
            message = refusal(lambda name=name, sizes=sizes: NeuronSets.load(tmp_path / name, ["en"], *sizes))
            assert message.startswith(f"{wrong}: {size!r}; expected a number from 1 to ")


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex", "repeated"])
def test_indices_and_masks_of_odd_tensors(kind: str, tmp_path: Path) -> None:
    def odd(tensor: torch.Tensor) -> torch.Tensor:
        if kind == "repeated":
            return tensor[:1].expand(10**11)
        return {"sparse": tensor.to_sparse(), "meta": tensor.to("meta"), "complex": tensor.to(torch.complex64)}[kind]

    torch.save([[odd(torch.tensor([0, 2]))]], tmp_path / "a.pt")
    assert "'en', layer 0: " in refusal(lambda: NeuronSets.load(tmp_path / "a.pt", ["en"], 5))
    torch.save([odd(torch.tensor([True, False]))], tmp_path / "a.pt")
    assert "a list of layers of bool tensors" in refusal(lambda: NeuronSets.load(tmp_path / "a.pt", ["en"]))


# Models

MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "pad beyond the embeddings": ("config.json", {"pad_token_id": 10**6}, "adding_idx must be within num_embeddings"),
    "unknown activation": ("config.json", {"hidden_act": "foo"}, "KeyError: 'foo'"),
    "unknown rope": ("config.json", {"rope_scaling": {"rope_type": "foo"}}, "KeyError: 'foo'"),
    "rope of text": ("config.json", {"rope_scaling": "x"}, "rope_parameters"),
    "missing quantiser": ("config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "optimum"),
    "unknown quantiser": ("config.json", {"quantization_config": {"quant_method": "foo"}}, "foo"),
    "no heads": ("config.json", {"num_attention_heads": 0}, "ZeroDivisionError"),
    "heads that do not fit": ("config.json", {"num_key_value_heads": 3}, "cannot read 3 tokens"),
    "unknown dtype": ("config.json", {"dtype": "foo"}, "AttributeError"),
    "ten million layers": ("config.json", {"num_hidden_layers": 10**7}, "10,000,000 layers; expected 1 to 10,000"),
    "a pad token that is none": ("tokenizer_config.json", {"pad_token": 3}, "TypeError"),
    "a length that is none": ("tokenizer_config.json", {"model_max_length": "x"}, "TypeError"),
}


def demo(tmp_path: Path, name: str, change: dict[str, Any]) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(DEMO_FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    content = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps(content | change))
    return folder


@pytest.mark.parametrize("kind", MODELS)
def test_folders_of_models(kind: str, tmp_path: Path) -> None:
    name, change, says = MODELS[kind]
    model = ModelConfig(source=str(demo(tmp_path, name, change)))

    def use() -> None:
        model.build_tokenizer()
        with torch.device("meta"):
            find_sites(model.build_meta(), "mlp.act")

    message = refusal(use)
    assert message.startswith("model.source: ")
    assert says in message


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "../../etc/passwd"}}, "it names '../../etc/passwd'"),
        ({"weight_map": {"a": "/etc/passwd.safetensors"}}, "it names '/etc/passwd.safetensors'"),
        ({"weight_map": {"a": "x.bin"}}, "it names 'x.bin'"),
        ({"weight_map": {"a": 3}}, "it is no index of weights"),
        ({"weight_map": [1]}, "it is no index of weights"),
        ([1], "it is no index of weights"),
    ],
)
def test_indices_of_weights(index: Any, says: str, tmp_path: Path) -> None:
    folder = demo(tmp_path, "config.json", {})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert says in refusal(ModelConfig(source=str(folder)).build)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["method.lora.targets=[]"], "method.lora.targets: no module; expected one or more"),
        (["model.source=MODEL"], "the tokenizer pads with token id"),
    ],
)
def test_plans_that_no_training_can_follow(argv: list[str], says: str, tmp_path: Path) -> None:
    folder = demo(tmp_path, "tokenizer_config.json", {"pad_token": "<a pad token of its own>"})
    small = ["data.train.count=4", "probe.source.count=2", "probe.source.languages=[en,de]"]
    argv = [argument.replace("MODEL", str(folder)) for argument in argv]
    assert says in refusal(lambda: RunPlan(load(TrainConfig, [*small, *argv])[0]).outline)


# Runs


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with snapshots of two steps."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    firings = torch.arange(800).view(2, 2, 2, 100) % 13
    tokens = torch.full((2, 2), 20)
    for step in (0, 4):
        counts = ActivationCounts(("en", "de"), (firings + step) % 20, tokens, tokens, "mlp.act", "all", step=step)
        counts.save(folder / f"neurons/step-{step:06d}.safetensors")
    (folder / "metrics.csv").write_text("step,key,value\n1,train/loss,2.5\n")
    return folder


OWN = [
    "step-best",
    "step-000004 (copy)",
    f"step-{'9' * 99}",
    "step-\u0660\u0660\u0660\u0660\u0660\u0664",
    ".step-000004",
]


@pytest.mark.parametrize("name", OWN)
def test_files_of_ones_own_are_passed_over(name: str, run: Path) -> None:
    shutil.copy(run / "neurons/step-000004.safetensors", run / f"neurons/{name}.safetensors")
    (run / "checkpoints" / name).mkdir(parents=True)
    assert load_run(run).steps == (0, 4)


def test_a_snapshot_under_a_step_far_away(run: Path) -> None:
    """The steps before it are not all looked for."""
    (run / "config.yaml").write_text("tracker: {every_n_steps: 1}\n")
    (run / "neurons/step-000004.safetensors").rename(run / "neurons/step-9999999999.safetensors")
    assert "it holds the counts of step 4" in refusal(lambda: load_run(run))


DAMAGED: dict[str, bytes | None] = {
    "metrics.csv": b'step,key,value\n1,"' + b"x" * 200_000 + b'",1\n1,a\n',
    "environment.json": b'{"data_fingerprint": "\\ud83d"}',
    "environment.json ": b'{"data_fingerprint": "x", "deep": ' + b"[" * 900 + b"]" * 900 + b"}",
    "config.yaml": None,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_of_a_run(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, path = DAMAGED[name], run / name.strip()
    if content is None:
        os.mkfifo(path)
        assert alignlab.report.main(["run=run", "intervals=none"]) == 0  # somebody's pipe, and no config of a run
        return
    path.write_bytes(content)
    assert alignlab.report.main(["run=run", "intervals=none"]) == 2
    message = capsys.readouterr().err
    assert str(path.name) in message
    assert "Traceback" not in message
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("command", [alignlab.report, alignlab.analyze])
def test_a_disk_that_fills_up(
    command: Any, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writing to a file that is open raises without the file's name."""

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert command.main(["run=run", "intervals=none"] if command is alignlab.report else ["run=run"]) == 2
    assert "no space left on device; expected a disk" in capsys.readouterr().err
    assert not list(run.rglob("report.html"))


# Names and cells


@pytest.mark.parametrize("name", ["a\u202eb", "a\x1b[31m", "a\nb"])
def test_languages_that_steer_a_terminal(name: str) -> None:
    tokens = torch.full((2, 1), 20)
    firings = torch.ones(2, 1, 2, 5, dtype=torch.int64)
    says = refusal(lambda: ActivationCounts(("en", name), firings, tokens, tokens, "mlp.act", "all"))
    assert "expected names without control characters" in says


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "'=1", "''=1", "'x", "x=1", "", "de"])
def test_no_cell_is_a_formula(text: str, tmp_path: Path) -> None:
    row = Row(value=-1.5, language=text, label=text)
    cells = csv_text([row], header=False)
    written = [cell.strip('"') for cell in cells.strip("\n").split(",")]
    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in written)
    assert [cell for cell in written if cell.startswith("-")] == ["-1.5"]  # a number may
    write_csv(tmp_path / "neurons.csv", [row])
    assert read_csv(tmp_path / "neurons.csv") == [row]
