"""A mixture of experts through the commands: trained, stopped and continued, analysed by both denominators, changed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from alignlab.analyze import main as analyze
from alignlab.intervene import main as intervene
from alignlab.models.load import ModelConfig
from alignlab.models.options import DEMO
from alignlab.neurons import ActivationCounts, NeuronSets, expert_and_column
from alignlab.recording.effects import Effects
from alignlab.report import main as report
from alignlab.train import main as train

from . import small_run
from .models.mixtures import COLUMNS, EXPERTS, build

AT = ["probe.site=experts.act", "evaluation=null"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture with the demo model's tokenizer, in a folder."""
    folder = tmp_path_factory.mktemp("mixture")
    tokenizer = ModelConfig(source=DEMO).build_tokenizer()
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    sizes = {"vocabulary": len(tokenizer), "max_position_embeddings": 1024, "dtype": torch.float32}
    build("qwen2_moe", **sizes, **ends).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def counts_of(run: Path) -> list[ActivationCounts]:
    return [ActivationCounts.load(path) for path in sorted(run.glob("neurons/step-*.safetensors"))]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["evaluation=null"], "Set probe.site to experts.act, its routed experts, or experts.shared."),
        ([*AT[1:], "probe.site=experts.actt"], "probe.site is 'experts.actt'"),
        ([*AT, "probe.denominator=tokens"], "probe.denominator is 'tokens'"),
        (["probe.site=experts.shared", "probe.denominator=routed"], "probe.denominator: routed, at experts.shared"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_is_refused_before_it_begins(
    model: Path, tmp_path: Path, settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train([*small_run.SMALL, f"model.source={model}", f"run.folder={run}", *settings]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not run.exists()


@pytest.mark.slow
def test_a_mixture_goes_through_all_commands(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small_run.make(Path("run"), f"model.source={model}", *AT, "probe.denominator=routed")
    said = " ".join(capsys.readouterr().out.split())
    assert f"{EXPERTS} experts x {COLUMNS}, 2 of them a token; shares of the tokens routed to the expert" in said
    assert said.count("site: experts.act (4 experts a layer, shares of the tokens routed to the expert)") == 3
    counts = counts_of(Path("run"))
    assert [one.denominator for one in counts] == ["routed"] * 3
    assert all(one.routed is not None for one in counts)

    asked = ["run=run", "analyses=[kinds,single_neuron_profile]", "neurons=['1.29']", "intervals=ends", "resamples=4"]
    for denominator, column in (("null", "routed"), ("all", "all")):
        folder = Path(f"analysis-{denominator}")
        assert analyze([*asked, f"denominator={denominator}", f"folder={folder}"]) == 0
        with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["analysis"] == "single_neuron_profile"]
        expert, place = expert_and_column(29, counts[0].experts, counts[0].shape[3])
        first = [row for row in rows if row["step"] == "0" and not row["since"] and not row["since_before"]]
        assert {row["label"] for row in first} == {f"1.29 (expert {expert}, column {place})"}
        fired = dict(zip(counts[0].languages, counts[0].totals()[:, 1, 29].tolist(), strict=True))
        of = counts[0].language_tokens() if column == "all" else counts[0].routed.sum(dim=1)[:, 1, expert]  # type: ignore[union-attr]
        tokens = dict(zip(counts[0].languages, of.tolist(), strict=True))
        for row in first:
            assert float(row["value"]) == pytest.approx(fired[row["language"]] / tokens[row["language"]])
        assert (
            f"shares of {'all counted tokens' if column == 'all' else 'the tokens routed'}" in capsys.readouterr().out
        )
        assert NeuronSets.load(folder / "sets.safetensors").site == "experts.act"

    changed = ["run=run", "config=interventions/deactivation_ppl", "languages=[en,zh]", "max_documents=2"]
    assert intervene(changed) == 0
    (effects,) = Path("run").glob("interventions/*/effects-*.safetensors")
    nats = Effects.load(effects).nats
    assert nats is not None
    assert bool((nats[:, 1:] != nats[:, :1]).any())
    assert report(["run=run"]) == 0
    assert "shares of the tokens routed to the expert" in Path("run/report.html").read_text(encoding="utf-8")
