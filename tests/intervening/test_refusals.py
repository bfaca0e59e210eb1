"""Bad input to `alignlab.intervene`: one message that says where, what and what to do; exit 2; nothing is written."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.intervene import main
from alignlab.neurons import NeuronSets

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_run

SETS = ["model.source=builtin:demo", "neurons=sets.safetensors", "controls=[random]"]
TEXT = ["text.source.name=builtin:wordproblems", "text.source.languages=[en,zh]", "text.source.count=6"]
RUN = ["run=run"]


@dataclass
class Case:
    """argv: what the user typed.  says: what the message has.  make: changes the folder first, in which `run` lies."""

    argv: list[str]
    says: str
    make: Callable[[Path], Any] = lambda folder: None


def spoil(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "run" / name
        data = bytearray(path.read_bytes())
        data[-8] ^= 1
        path.write_bytes(bytes(data))

    return change


def sets_of(names: list[str], layers: int = 4, neurons: int = 640, site: str = "mlp.act") -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        mask = torch.zeros(layers, neurons, dtype=torch.bool)
        mask[0, :3] = True
        NeuronSets(dict.fromkeys(names, mask), site=site).save(folder / "sets.safetensors")

    return change


def crowded(folder: Path) -> None:
    mask = torch.zeros(4, 640, dtype=torch.bool)
    mask[1, :400] = True
    NeuronSets({"en": mask, "zh": mask}).save(folder / "sets.safetensors")


def empty(folder: Path) -> None:
    NeuronSets({"en": torch.zeros(4, 640, dtype=torch.bool)}).save(folder / "sets.safetensors")


def other_text(folder: Path) -> None:
    """The run's text is another than the one it has counted."""
    path = folder / "run/config.yaml"
    path.write_text(path.read_text().replace("count: 12\n", "count: 13\n"))
    listed = json.loads((folder / "run/manifest.json").read_text())
    listed["files"] = {}
    (folder / "run/manifest.json").write_text(json.dumps(listed))


def plain_text(folder: Path) -> None:
    (folder / "TEXT").mkdir()
    for code in ("en", "zh"):
        (folder / f"TEXT/{code}.txt").write_text("one\ntwo\n")


def strange_folder(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/notes.txt").write_text("mine")


CASES = {
    "nothing set": Case(["seeds=2"], "neither a run nor a model is set; expected one of them. Write run=runs/demo"),
    "an unknown key": Case([*RUN, "seed=2"], "there is no key 'seed'"),
    "no such run": Case(["run=rum"], "run (rum): there is no such folder; expected the folder of a run. Did you mean 'run'"),
    "a file as run": Case(["run=run/config.yaml"], "it is a file; expected the folder of a run"),
    "a folder without a run": Case(["run=run/neurons"], "which says the model and the text"),
    "no such step": Case([*RUN, "step=7"], "step: the run has no snapshot of step 7; expected one of: 0, 1, 2"),
    "a step without checkpoint": Case(
        [*RUN, "step=[0,1]"],
        "step: the run has no checkpoint of step 1; expected one of: 0, 2",
        lambda folder: shutil.rmtree(folder / "run/checkpoints/step-000001"),
    ),
    "a step twice": Case([*RUN, "step=[1,1]"], "step is [1, 1]; expected steps from 0, each once"),
    "a step without a run": Case([*SETS, *TEXT, "step=1"], "step: set, but there is no run"),
    "a damaged snapshot": Case([*RUN], "neurons/step-000002.safetensors", spoil("neurons/step-000002.safetensors")),
    "a damaged checkpoint": Case(
        [*RUN], "adapter_model.safetensors", spoil("checkpoints/step-000002/adapter_model.safetensors")
    ),
    "other text than was counted": Case([*RUN], "probe: it is not the text on which the run counted step 2", other_text),
    "another probe": Case([*RUN, "probe.source.count=5"], "Leave out what is set of probe"),
    "a model without sets": Case(["model.source=builtin:demo"], "neurons: not set, and there is no run"),
    "a model without text": Case(SETS, "text: not set, and there is no run", sets_of(["en", "zh"])),
    "no such file of sets": Case([*SETS, *TEXT], "sets.safetensors: there is no such file"),
    "sets of another model": Case(
        [*SETS, *TEXT], "neurons: they are of 5 x 640 neurons; expected 4 x 640 at mlp.act", sets_of(["en", "zh"], 5)
    ),
    "sets of a site that there is not": Case(
        [*SETS, *TEXT], "site of the sets: 'mlp.middle'", sets_of(["en", "zh"], site="mlp.middle")
    ),
    "sets without a neuron": Case([*SETS, *TEXT], "sets: all 1 are empty: en", empty),
    "matched without counts": Case(
        [*SETS[:2], *TEXT], "controls: matched, but no run has counted the neurons", sets_of(["en", "zh"])
    ),
    "no room for controls": Case(
        [*SETS, *TEXT], "layer 1 has 240 neurons of no language, and 'en' has 400", crowded
    ),
    "an unknown operation": Case([*RUN, "operations=[zeero]"], "operations is ['zeero']"),
    "an operation twice": Case([*RUN, "operations=[zero,zero]"], "expected one or more, each once"),
    "no operation": Case([*RUN, "operations=[]"], "expected one or more, each once"),
    "the shift of one language": Case(
        [*RUN, "measures=[lss]", "languages=[zh]"],
        "objects: items in zh alone; expected items in two languages or more, of what is asked for. Name more languages",
    ),
    "strengths of nothing": Case([*RUN, "strengths=[1,2]"], "strengths: [1.0, 2.0], but zero has none"),
    "a strength that is none": Case([*RUN, "operations=[scale]", "strengths=[.nan]"], "strengths is [nan]"),
    "a strength beyond float32": Case(
        [*RUN, "operations=[scale]", "strengths=[1e39]"], "each once in six digits, none beyond 3.4e38"
    ),
    "strengths of one name": Case(
        [*RUN, "operations=[scale]", "strengths=[0.1,0.1000000001]"], "strengths is [0.1, 0.1000000001]; expected one or more"
    ),
    "zero of either sign": Case([*RUN, "operations=[scale]", "strengths=[0,-0.0]"], "strengths is [0, -0.0]"),
    "means of no language": Case(
        [*RUN, "operations=[add]", "sets.both=zh | en"], "operations: add takes means of a language, and both is of none"
    ),
    "means without a run": Case(
        [*SETS, *TEXT, "operations=[diff_mean]"], "takes means of documents on which neurons were found, and there is no run",
        sets_of(["en", "zh"]),
    ),
    "an expression that is none": Case([*RUN, "each=specific(g) |"], "each (en): the end; expected a set"),
    "an unknown kind": Case([*RUN, "each=specifik(g)"], "'specifik' is not a kind of a language"),
    "an unknown language in a set": Case([*RUN, "sets.x=fr - en"], "sets.x (x): 'fr' is not a set"),
    "the same for every language": Case([*RUN, "each=general"], "each: 'general' is the same for every language"),
    "a name that a language has": Case([*RUN, "sets.zh=zh - en"], "sets.zh: the language has a set of this name"),
    "nothing to change": Case([*RUN, 'each=""'], "each: empty, and so is sets; expected neurons to change"),
    "layers that there are not": Case([*RUN, "layers=2-9"], "layers: '2-9'; expected layers from 0 to 3"),
    "bands that there are not": Case([*RUN, "bands=[0-1,4]"], "bands: '4'; expected layers from 0 to 3"),
    "all wrong layers at once": Case([*RUN, "layers=9", 'bands=[""]'], "layers: '9'; expected layers from 0 to 3, such as 0-2.\ncommand line: bands: ''"),
    "a band that is all layers": Case([*RUN, "layers=0", "bands=[1-2,0]"], "bands: '0' has all that layers has"),
    "bands of the same layers": Case([*RUN, "bands=[0-1,'0, 1']"], "bands: '0-1' and '0, 1' are the same layers"),
    "an unknown language": Case([*RUN, "languages=[en,xx]"], "expected ISO 639 codes"),
    "a language without text": Case([*RUN, "languages=[en,fr]"], "languages: there is no text in fr; expected some of: en, zh"),
    "a language that is not measured": Case(
        [*RUN, "languages=[en,zh]", "show_languages=[sw]"], "show_languages: sw is not measured; expected some of: en, zh"
    ),
    "no such shard": Case([*RUN, "identify_shards=[0,6]"], "identify_shards: there is no shard 6"),
    "all shards": Case([*RUN, "identify_shards=[0,1,2,3,4,5]"], "no document is left to be measured"),
    "text that neurons were found on": Case(
        [*RUN, *TEXT, "text.source.split=probe", "text.source.count=12"], "documents share an id, a cluster or all their words"
    ),
    "sets of no language": Case(
        [*SETS, *TEXT], "each: no language that is measured has neurons by this name", sets_of(["mine"])
    ),
    "a name that a band has": Case(
        [*RUN, "sets={'en, layers 0-1': zh}", "bands=[0-1]"], "sets.en, layers 0-1: the part of 'en' in a band has this name"
    ),
    "what is of runs alone": Case(
        [*SETS, *TEXT, "identify_shards=[0]", "same_documents=true"],
        "identify_shards: set, but there is no run; expected null. Set run=FOLDER.\ncommand line: same_documents: set, but",
        sets_of(["en", "zh"]),
    ),
    "text without what counts": Case(
        [*RUN, "text.source.name=files", "text.source.path=TEXT", "text.scope=response"],
        "text (scope response): language 'en' has no token to count in 2 documents; expected one or more. Give answers, or set text.scope=all",
        plain_text,
    ),
    "a site that was not counted": Case(
        [*RUN, "probe.site=mlp.up"], "probe.site: mlp.up, and the run has counted mlp.act; expected mlp.act"
    ),
    "options of what is not asked for, at once": Case(
        [*RUN, "replace_by=median", "percentile=50", "evaluation.source.count=2", "fallback.order=[zh]"],
        "replace_by: median, but operations has no replace; expected operations=[replace].\n"
        "command line: percentile: 50, but replace_by is median; expected replace_by=percentile.\n"
        "command line: fallback.order: set, but measures has no fallback; expected measures=[fallback].\n"
        "command line: evaluation: set, but measures has none that takes problems; expected accuracy, fallback or lss",
    ),
    "shards beside the same documents": Case(
        [*RUN, "same_documents=true", "identify_shards=[0]"], "identify_shards: set beside same_documents=true"
    ),
    "text to be answered": Case([*RUN, *TEXT, "text.responses=generated_once"], "text.responses: generated_once"),
    "a single document": Case([*RUN, "max_documents=1"], "max_documents is 1; expected an integer, at least 2"),
    "no draw": Case([*RUN, "seeds=0"], "seeds is 0; expected an integer, at least 1"),
    "a name with a slash": Case([*RUN, "name=a/b"], "name is 'a/b'; expected a name without /"),
    "somebody else's folder": Case([*RUN, "folder=out"], "folder (out): it holds something else", strange_folder),
    "a run's folder": Case([*RUN, "folder=run"], "folder (run): it holds files of the kind run"),
    "a precision that there is not": Case([*RUN, "precision=8-true"], "precision is '8-true'"),
    "a scope that there is not": Case([*RUN, "scope=answer"], "scope is 'answer'; expected one of 'all', 'prompt', 'generated'"),
    "a secret as name": Case([*RUN, "name=hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"], "name: <token hidden>: it holds a secret"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("refused") / "run")


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(
    name: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, "run")
    case.make(tmp_path)
    before = {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")}
    capsys.readouterr()
    status = main(case.argv)
    said = capsys.readouterr().err
    assert status == 2, said
    assert case.says in said
    assert "Traceback" not in said
    assert {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")} == before


def test_there_are_thirty() -> None:
    assert len(CASES) >= 30
