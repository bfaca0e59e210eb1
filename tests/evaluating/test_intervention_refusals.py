"""Bad `interventions` of `alignlab.evaluate`: one message that says where, what and what to do; nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from alignlab.evaluate import main
from alignlab.neurons.sets import NeuronSets

TEXT = ["tasks.text.name=perplexity", "tasks.text.source.count=16", "tasks.text.source.languages=[en,zh]"]
RUN, DEMO = ["run=run", "steps=[0]", *TEXT], ["models=[builtin:demo]", *TEXT]
SETS = ["interventions.off.sets=sets.safetensors", "controls=[random]"]


def off(what: str) -> str:
    return f"interventions.off.{what}"


CASES: dict[str, tuple[list[str], list[str]]] = {
    "no neurons": ([*RUN, off("layers='0'")], ["interventions.off.neurons: not set"]),
    "an unknown key": (
        [*RUN, off("neurons=zh"), off("strength=2")],
        ["there is no key 'interventions.off.strength'"],
    ),
    "an unknown operation": (
        [*RUN, off("neurons=zh"), off("operation.name=zeros")],
        ["interventions.off.operation.name is 'zeros'", "Did you mean 'zero'?"],
    ),
    "an operation without its strength": (
        [*RUN, off("neurons=zh"), off("operation.name=scale")],
        ["interventions.off.operation.strength: not set"],
    ),
    "an unknown scope": ([*RUN, off("neurons=zh"), off("scope=answers")], ["interventions.off.scope is 'answers'"]),
    "an unknown site": (
        [*RUN, off("neurons=zh"), off("site=mlp.akt")],
        ["interventions.off.site is 'mlp.akt'", "Did you mean 'mlp.act'?"],
    ),
    "an unknown language, and no expression, at once": (
        [*RUN, off("neurons=specific(zhh)"), "interventions.more.neurons=zh &"],
        ["interventions.off.neurons: 'zhh'", "Did you mean 'zh'?", "interventions.more.neurons"],
    ),
    "an unknown set of a file": (
        [*DEMO, *SETS, off("neurons=half - keept")],
        ["interventions.off.neurons: 'keept'", "Did you mean 'kept'?"],
    ),
    "a site at which nothing was counted": (
        [*RUN, off("neurons=zh"), off("site=mlp.product")],
        ["interventions.off.site: mlp.product, and the run has counted at mlp.act; expected mlp.act"],
    ),
    "sets of another model": (
        [*DEMO, SETS[1], off("sets=other.safetensors"), off("neurons=half")],
        ["interventions.off.sets: 2 x 6 neurons, and builtin:demo has 4 x 640 there"],
    ),
    "no such file of sets": (
        [*DEMO, SETS[1], off("sets=nowhere.safetensors"), off("neurons=half")],
        ["interventions.off.sets", "nowhere.safetensors"],
    ),
    "layers that the model has not": (
        [*RUN, off("neurons=zh"), off("layers='2-9'")],
        ["interventions.off.layers: '2-9'; expected layers from 0 to 3"],
    ),
    "no neuron": (
        [*RUN, off("neurons=zh - zh")],
        ["interventions.off.neurons: 'zh - zh' is no neuron at step 0", "set found_at=last"],
    ),
    "no neuron of a file": (
        [*DEMO, *SETS, off("neurons=half - half")],
        ["interventions.off.neurons: 'half - half' is no neuron at builtin:demo; ", "Take other neurons or layers.\n"],
    ),
    "a step without counts": (
        [*RUN, off("neurons=zh"), off("found_at=7")],
        ["interventions.off.found_at: the run has no snapshot of step 7; expected one of: 0, 1, 2"],
    ),
    "no run and no sets": (
        [*DEMO, off("neurons=zh"), "controls=[]"],
        ["interventions.off: there is no run, and no file of sets", "Set interventions.off.sets=FILE, or run=FOLDER."],
    ),
    "matched controls that nothing has counted": (
        [*DEMO, SETS[0], off("neurons=half")],
        ["controls: matched, but no run has counted the neurons", "Set controls=[random]"],
    ),
    "means without a run": (
        [*DEMO, *SETS, off("neurons=half"), off("operation.name=add")],
        ["interventions.off.operation: add takes means", "Set run=FOLDER."],
    ),
    "means of no one language": (
        [*RUN, off("neurons=zh | de"), off("operation.name=add")],
        ["interventions.off.language: null, and 'zh | de' names 2 languages; expected one of: en, zh, de, sw"],
    ),
    "means of an unknown language": (
        [*RUN, off("neurons=zh"), off("operation.name=diff_mean"), off("language=fr")],
        ["interventions.off.language: 'fr'"],
    ),
    "numbers beyond float32": (
        [*RUN, off("neurons=zh"), off("operation.name=scale"), off("operation.strength=1.0e300"),
         "interventions.fixed.neurons=zh", "interventions.fixed.operation={name: constant, value: -4.0e38}"],
        ["interventions.off.operation.strength is 1e+300; expected a number, none beyond 3.4e38",
         "interventions.fixed.operation.value is -4e+38; expected a number, none beyond"],
    ),
    "a percentile that nothing takes": (
        [*RUN, off("neurons=zh"), off("operation.name=replace"), off("operation.percentile=50")],
        ["interventions.off.operation.percentile: 50, but by is mean; expected interventions.off.operation.by="],
    ),
    "a language where none is taken": (
        [*RUN, off("neurons=zh"), off("language=zh")],
        ["interventions.off.language: set, and zero takes no means"],
    ),
    "a model that is none of the run's": (
        [*RUN, "models=[builtin:demo]", off("neurons=zh")],
        ["interventions.off.found_at: null, and builtin:demo is no checkpoint of the run"],
    ),
    "a name that is taken": (
        [*RUN, "interventions.none.neurons=zh"],
        ["interventions: one is called 'none'; expected letters, digits, _ and -, and not none"],
    ),
    "a control twice": ([*RUN, off("neurons=zh"), "controls=[random,random]"], ["controls", "each once"]),
    "more neurons than are left for controls": (
        [*RUN, off("neurons=~zh")],
        ["interventions.off: controls: layer 0 has"],
    ),
    "nothing but where neurons were found": (
        ["run=run", "steps=[0]", "tasks.text.name=perplexity", "tasks.text.source.count=1",
         "tasks.text.source.languages=[en,zh]", off("neurons=zh"),
         "identify_shards=[0,1,2,3,4]"],
        ["tasks.text: all items in en share an id or a cluster with the documents on which neurons were found",
         "for interventions.off", "set same_documents=true"],
    ),
    "mistakes of a task and of an intervention": (
        ["run=run", "tasks.t.name=perplexity", "tasks.t.source.name=files", "tasks.t.source.path=none.txt",
         "tasks.t.source.languages=[en]", off("neurons=zz")],
        ["none.txt", "interventions.off.neurons: 'zz'"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    shutil.copytree(made, folder / "run")
    masks = {"half": torch.zeros(4, 640, dtype=torch.bool), "kept": torch.zeros(4, 640, dtype=torch.bool)}
    masks["half"][:, ::2] = True
    masks["kept"][:, :10] = True
    NeuronSets(masks).save(folder / "sets.safetensors")
    NeuronSets({"half": torch.ones(2, 6, dtype=torch.bool)}).save(folder / "other.safetensors")
    return folder


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, says = CASES[name]
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    status = main(argv)
    said = capsys.readouterr().err
    assert status == 2, said
    for one in says:
        assert one in said
    assert "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
