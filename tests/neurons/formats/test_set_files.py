"""Published files of neuron sets: laid out by hand as the published code writes them, read, written, refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import NeuronSets

LANGUAGES = ["zh", "sw", "en"]


def neurons(mask: torch.Tensor) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in mask]


def mask(rows: list[list[int]], width: int = 8) -> torch.Tensor:
    result = torch.zeros(len(rows), width, dtype=torch.bool)
    for layer, indices in enumerate(rows):
        result[layer, indices] = True
    return result


# Lists of indices

INDICES = [[[1, 7], [0]], [[], []], [[2], [3, 4, 5]]]


def write_indices(path: Path, content: Any = None) -> Path:
    """As the public code does: torch.tensor(list).long(), with no names."""
    rows = INDICES if content is None else content
    torch.save([[torch.tensor(layer).long() for layer in layers] for layers in rows], path)
    return path


@pytest.mark.parametrize("name", ["Llama-2-7b.neuron.pth", "mask.zh.pt", "llama-70b"])
def test_lists_of_indices_are_read_with_the_names_given(name: str, tmp_path: Path) -> None:
    path = write_indices(tmp_path / name)
    for format_ in (None, "lape"):
        sets = NeuronSets.load(path, languages=LANGUAGES, num_neurons=8, format=format_)
        assert sets.names == ("zh", "sw", "en")
        assert [neurons(sets[language]) for language in LANGUAGES] == INDICES
        assert sets.site == "mlp.act"
    assert NeuronSets.load(path, LANGUAGES, 8, num_layers=2, site="mlp.up").site == "mlp.up"


def test_empty_layers_may_be_of_any_type_and_indices_of_any_integer(tmp_path: Path) -> None:
    content = [[torch.tensor([]), torch.tensor([7], dtype=torch.int32)], (torch.tensor([]).bool(), torch.tensor([0]))]
    torch.save(content, tmp_path / "mask")
    sets = NeuronSets.load(tmp_path / "mask", ["a", "b"], 8)
    assert [neurons(sets[name]) for name in sets] == [[[], [7]], [[], [0]]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"languages": None}, "languages: not given.*has no names"),
        ({"languages": []}, "languages: not given"),
        ({"languages": ["zh", "sw", ""]}, "a name for each set"),
        ({"languages": ["zh", "sw", "zh"]}, "each once"),
        ({"languages": ["zh", "sw"]}, "3 sets for 2 languages, zh, sw"),
        ({"languages": [*LANGUAGES, "de"]}, "3 sets for 4 languages.*Published code leaves"),
        ({"num_neurons": None}, "num_neurons not given"),
        ({"num_neurons": 7}, "'zh', layer 0: index 7; expected indices from 0 to 6, of 7 neurons"),
        ({"num_layers": 3}, "2 layers; expected 3"),
        ({"format": "culture"}, "culture files hold one set"),
        ({"format": "lappe"}, "Did you mean 'lape'"),
    ],
)
def test_what_does_not_fit_a_list_of_indices_is_refused(arguments: dict[str, Any], word: str, tmp_path: Path) -> None:
    path = write_indices(tmp_path / "mask")
    with pytest.raises(InputError, match=word):
        NeuronSets.load(path, **{"languages": LANGUAGES, "num_neurons": 8} | arguments)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([[torch.tensor([1])], [torch.tensor([-1])]], "'sw', layer 0: index -1"),
        ([[torch.tensor([1])], [torch.tensor([1, 8])]], "'sw', layer 0: index 8"),
        ([[torch.tensor([1])], [torch.tensor([1.0])]], "float32; expected a tensor of indices"),
        ([[torch.tensor([1])], [torch.tensor([True])]], "bool; expected a tensor of indices"),
        ([[torch.tensor([1])], [torch.tensor([[1]])]], r"shape \(1, 1\)"),
        ([[torch.tensor([1])], [[1]]], "list; expected a tensor"),
        ([[torch.tensor([1])], [torch.tensor([1])] * 2], "the same number for every language"),
        ([[], []], "the same number"),
        ([[torch.tensor([1])], torch.tensor([1])], "something else"),
        ({"zh": 1}, "something else"),
    ],
)
def test_lists_of_other_content_are_refused(content: Any, word: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "mask")
    with pytest.raises(InputError, match=word):
        NeuronSets.load(tmp_path / "mask", ["zh", "sw"], 8, format="lape")


def test_every_index_that_is_wrong_is_told(tmp_path: Path) -> None:
    path = write_indices(tmp_path / "mask", [[[9], [1]], [[1], [10]]])
    with pytest.raises(InputError) as caught:
        NeuronSets.load(path, ["zh", "sw"], 8)
    assert [problem.found for problem in caught.value.problems] == ["index 9", "index 10"]


def test_lists_of_indices_are_written_as_published(tmp_path: Path) -> None:
    sets = NeuronSets({name: mask(rows) for name, rows in zip(LANGUAGES, INDICES, strict=True)})
    sets.save(tmp_path / "new" / "mask", format="lape")
    content = torch.load(tmp_path / "new" / "mask", weights_only=True)
    assert isinstance(content, list)
    assert [[layer.tolist() for layer in layers] for layers in content] == INDICES
    assert {layer.dtype for layers in content for layer in layers} == {torch.int64}
    assert {type(layers) for layers in content} == {list}
    again = NeuronSets.load(tmp_path / "new" / "mask", LANGUAGES, 8)
    assert all(torch.equal(again[name], sets[name]) for name in LANGUAGES)


def test_a_written_file_holds_the_indices_only(tmp_path: Path) -> None:
    NeuronSets({str(i): mask([[1], [2]], 30_000) for i in range(3)}).save(tmp_path / "mask", format="lape")
    assert (tmp_path / "mask").stat().st_size < 10_000
    many = torch.zeros(50, 3, 1000, dtype=torch.bool)
    NeuronSets({"zh": many[7]}).save(tmp_path / "culture", format="culture")
    assert (tmp_path / "culture").stat().st_size < 10_000


# One set a file


def test_layers_of_booleans_are_a_culture(tmp_path: Path) -> None:
    rows = [[1, 7], [], [0, 3]]
    torch.save([row.clone() for row in mask(rows)], tmp_path / "danish_pure.mask.pth")
    for format_ in (None, "culture"):
        sets = NeuronSets.load(tmp_path / "danish_pure.mask.pth", ["Danish"], format=format_)
        assert {name: neurons(own) for name, own in sets.items()} == {"Danish": rows}
    NeuronSets({"Danish": mask(rows)}).save(tmp_path / "again", format="culture")
    content = torch.load(tmp_path / "again", weights_only=True)
    assert [row.tolist() for row in content] == mask(rows).tolist()
    assert neurons(NeuronSets.load(tmp_path / "again", ["Danish"], 8, 3)["Danish"]) == rows
    for arguments, word in (
        ({"num_neurons": 9}, "layers of 8 neurons; expected layers of 9"),
        ({"num_layers": 2}, "3 layers; expected 2"),
        ({"languages": ["a", "b"]}, r"one: culture files hold one set. Load each file by itself"),
    ):
        with pytest.raises(InputError, match=word):
            NeuronSets.load(tmp_path / "again", **{"languages": ["Danish"]} | arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [[], [torch.tensor([1, 2])], [torch.tensor([True]), 1], [torch.tensor([[True]])], 3, torch.tensor([True])],
)
def test_other_contents_are_no_culture(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "mask")
    with pytest.raises(InputError, match="something else; expected a list of layers of bool"):
        NeuronSets.load(tmp_path / "mask", ["Danish"], 8)
    torch.save([torch.tensor([True]), torch.tensor([True, False])], tmp_path / "mask")
    with pytest.raises(InputError, match="layers of 1, 2 neurons"):
        NeuronSets.load(tmp_path / "mask", ["Danish"])


PLND = """\
{0: {1, 7}, 1: set(), 2: {0}}
{0: {np.int64(2), np.int64(0)}, 1: set(), 2: {np.int64(5)}}
{0: [3, 1], 1: [], 2: {numpy.int64(4)}}
{2: {6}, 0: set(), 1: {1}}

{np.int32(0): {}, 1:{1,2} , 2 : {  3  , 4 }}
"""
PLND_SETS = {
    "mlp.act": [[1, 7], [], [0]],
    "mlp.up": [[1, 7], [], [0]],
    "mlp.product": [[0, 2], [], [5]],
    "attention.q": [[1, 3], [], [4]],
    "attention.k": [[], [1], [6]],
    "attention.v": [[], [1, 2], [3, 4]],
}


@pytest.mark.parametrize("site", PLND_SETS)
def test_printed_dicts_of_plnd(site: str, tmp_path: Path) -> None:
    path = tmp_path / "chinese.txt"
    path.write_text(PLND)
    sets = NeuronSets.load(path, ["zh"], 8, site=site)
    assert neurons(sets["zh"]) == PLND_SETS[site]
    assert sets.site == site
    assert NeuronSets.load(path, ["zh"], 8).site == "mlp.up"
    path.rename(tmp_path / "chinese")
    deeper = NeuronSets.load(tmp_path / "chinese", ["zh"], 8, 5, format="plnd", site=site)
    assert neurons(deeper["zh"]) == [*PLND_SETS[site], [], []]


@pytest.mark.parametrize("site", PLND_SETS)
def test_plnd_is_written_as_python_prints_it(site: str, tmp_path: Path) -> None:
    rows = [[1, 7], [], [0, 3]]
    NeuronSets({"zh": mask(rows)}, site=site).save(tmp_path / "zh.txt", format="plnd")
    assert neurons(NeuronSets.load(tmp_path / "zh.txt", ["zh"], 8, site=site)["zh"]) == rows
    lines = (tmp_path / "zh.txt").read_text().splitlines()
    full, empty = "{0: {1, 7}, 1: set(), 2: {0, 3}}", "{0: set(), 1: set(), 2: set()}"
    assert sorted(set(lines)) == sorted({full, empty})
    order = ["mlp.up", "mlp.product", "attention.q", "attention.k", "attention.v"]
    written = {"mlp.act": ["mlp.up", "mlp.product"]}.get(site, [site])
    assert lines == [full if line in written else empty for line in order]


def five(line: str) -> str:
    return "\n".join(["{0: set()}"] * 2 + [line] + ["{0: set()}"] * 2)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (five("{0: {1}, 1: {8}}"), r"zh\.txt:3, layer 1: index 8; expected indices from 0 to 7"),
        (five("{0: {-1}}"), "index -1"),
        (five("{0: {np.int64(-2)}}"), "index -2"),
        (five("{1: {1}}"), "layers 1 to 1, 1 of them; expected layers 0 to 0"),
        (five("{}"), "layers none"),
        (five("{0: {1}, 0: {2}}"), "layer 0 is there twice"),
        (five("{0: {1.5}}"), r"'1\.5'"),
        (five("{0: {1, }, 1: {2}}"), "an index"),
        (five("{0: {a}}"), "'a'"),
        (five("{0: {" + "9" * 5000 + "}}"), "an index"),
        (five("{" + "9" * 5000 + ": {1}}"), "a layer with its indices"),
        (five("{999999999999: {1}}"), "layers 999999999999"),
        (five("{0: {1} 1: {2}}"), "a layer with its indices"),
        (five("{0: 1}"), "a layer with its indices"),
        (five("{0: {1}}, {1: {2}}"), "a layer with its indices"),
        (five("[{1}]"), "a dict of layers"),
        (five("{0: __import__('os').system('true')}"), "a layer with its indices"),
        (five("{0: {__import__('os').system('true')}}"), "an index"),
        ("{0: {1}}", "1 lines; expected five"),
        (five("{0: {1}}") + "\n{0: {1}}", "6 lines"),
    ],
)
def test_what_is_no_plnd_is_refused(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "zh.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        NeuronSets.load(path, ["zh"], 8, site="attention.q")


def test_plnd_needs_its_sizes_and_a_site_it_has(tmp_path: Path) -> None:
    path = tmp_path / "zh.txt"
    path.write_text(PLND)
    for arguments, word in (
        ({"num_neurons": None}, "num_neurons not given"),
        ({"site": "residual"}, "site: 'residual'"),
        ({"num_layers": 2}, "layers 0 to 2"),
        ({"languages": ["zh", "sw"]}, "plnd files hold one set"),
        ({"languages": None}, "languages"),
    ):
        with pytest.raises(InputError, match=word):
            NeuronSets.load(path, **{"languages": ["zh"], "num_neurons": 8} | arguments)  # type: ignore[arg-type]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as text"):
        NeuronSets.load(path, ["zh"], 8)
    with pytest.raises(InputError, match="no such file"):
        NeuronSets.load(tmp_path / "none.txt", ["zh"], 8)
    with pytest.raises(InputError, match="site"):
        NeuronSets({"zh": mask([[1]])}, site="residual").save(path, format="plnd")


def test_a_long_line_of_plnd_takes_linear_time(tmp_path: Path) -> None:
    # Digits and spaces by the million must not send the matching back and forth.
    path = tmp_path / "zh.txt"
    for line in ("{0: {" + "1" * 300_000 + "x}}", "{" + " " * 300_000 + "}", "{0: {1}" + " " * 300_000 + "x}"):
        path.write_text(five(line))
        with pytest.raises(InputError):
            NeuronSets.load(path, ["zh"], 8, site="attention.q")


RECORDS = [
    {"module_name": "mlp.gate_proj", "layer_idx": 1, "neuron_idx": 7, "attribute_score": 0.5},
    {"module_name": "mlp.gate_proj", "layer_idx": 0, "neuron_idx": 2, "attribute_score": 0.25, "scores": {"UK": 1}},
    {"module_name": "self_attn.q_proj", "layer_idx": 0, "neuron_idx": 900, "attribute_score": 0.125},
    {"module_name": "model.layers.1.mlp.gate_proj", "layer_idx": 1, "neuron_idx": 0, "attribute_score": None},
]


def test_records_of_attributed_neurons(tmp_path: Path) -> None:
    path = tmp_path / "UK_neurons_blend_all.json"
    for content in (RECORDS, {"model_name": "m", "dataset_ids": {}, "top_neurons": RECORDS}):
        path.write_text(json.dumps(content))
        sets = NeuronSets.load(path, ["UK"], 8, 3)
        assert neurons(sets["UK"]) == [[2], [0, 7], []]
        assert sets.site == "mlp.act"
        # Indented by six, its ninth byte is a brace, as that of safetensors.
        path.write_text(json.dumps(content, indent=6))
        assert neurons(NeuronSets.load(path, ["UK"], 901, 1, site="attention.q")["UK"]) == [[900]]


def test_attributed_neurons_are_written_as_published(tmp_path: Path) -> None:
    sets = NeuronSets({"UK": mask([[2], [0, 7], []])}, model="gemma", site="mlp.up")
    sets.save(tmp_path / "UK.json", format="attribution")
    content = json.loads((tmp_path / "UK.json").read_text())
    assert content["model_name"] == "gemma"
    assert content["top_neurons"] == [
        {"module_name": "mlp.up_proj", "layer_idx": layer, "neuron_idx": neuron, "attribute_score": None}
        for layer, neuron in ((0, 2), (1, 0), (1, 7))
    ]
    again = NeuronSets.load(tmp_path / "UK.json", ["UK"], 8, 3, site="mlp.up")
    assert torch.equal(again["UK"], sets["UK"])


def test_scores_of_attributed_neurons_are_written_highest_first(tmp_path: Path) -> None:
    from alignlab.neurons.formats.attribution import save_attribution

    scores = torch.arange(16.0).view(2, 8)
    save_attribution(tmp_path / "UK.json", mask([[2], [0, 7]]), "mlp.act", scores=scores)
    records = json.loads((tmp_path / "UK.json").read_text())["top_neurons"]
    assert [(r["layer_idx"], r["neuron_idx"], r["attribute_score"]) for r in records] == [
        (1, 7, 15.0),
        (1, 0, 8.0),
        (0, 2, 2.0),
    ]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("3", "something else"),
        ('{"neurons": []}', "something else"),
        ("[3]", "record 0: module_name None"),
        ('[{"module_name": "mlp.gate", "layer_idx": 0, "neuron_idx": 0}]', "module_name 'mlp.gate'"),
        ('[{"module_name": "xmlp.gate_proj", "layer_idx": 0, "neuron_idx": 0}]', "module_name 'xmlp.gate_proj'"),
        ('[{"module_name": "mlp.gate_proj", "layer_idx": 3, "neuron_idx": 0}]', "layer_idx 3; expected from 0 to 2"),
        ('[{"module_name": "mlp.gate_proj", "layer_idx": 0, "neuron_idx": 8}]', "neuron_idx 8; expected from 0 to 7"),
        ('[{"module_name": "mlp.gate_proj", "layer_idx": -1, "neuron_idx": true}]', "neuron_idx True"),
        ('[{"module_name": "mlp.gate_proj", "layer_idx": 0}]', "neuron_idx None"),
        (
            '[{"module_name": "mlp.up_proj", "layer_idx": 0, "neuron_idx": 0}]',
            r"no neuron of mlp\.gate_proj.*mlp\.up\.",
        ),
    ],
)
def test_what_is_no_list_of_records_is_refused(content: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "UK.json"
    path.write_text(content)
    with pytest.raises(InputError, match=word):
        NeuronSets.load(path, ["UK"], 8, 3)


def test_records_need_the_sizes_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "UK.json"
    path.write_text(json.dumps([]))
    assert neurons(NeuronSets.load(path, ["UK"], 8, 3)["UK"]) == [[], [], []]
    with pytest.raises(InputError, match="num_neurons and num_layers not given"):
        NeuronSets.load(path, ["UK"])
    with pytest.raises(InputError, match="num_layers not given"):
        NeuronSets.load(path, ["UK"], 8)
    with pytest.raises(InputError, match="site"):
        NeuronSets.load(path, ["UK"], 8, 3, site="residual")


# All formats


@pytest.mark.parametrize("format_", ["culture", "plnd", "attribution"])
def test_formats_of_one_set_do_not_take_several(format_: str, tmp_path: Path) -> None:
    sets = NeuronSets({"zh": mask([[1]]), "sw": mask([[2]])})
    with pytest.raises(InputError, match=f"one: {format_} files hold one set"):
        sets.save(tmp_path / "file", format=format_)
    with pytest.raises(InputError, match="Did you mean"):
        sets.save(tmp_path / "file", format=f"{format_}s")
    assert not list(tmp_path.iterdir())


def test_our_own_files_check_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "sets.safetensors"
    NeuronSets({"zh": mask([[1], [2]]), "sw": mask([[2], []])}).save(path)
    path.rename(tmp_path / "bare")
    for place in (tmp_path / "bare", path):
        if place is path:
            (tmp_path / "bare").rename(path)
        assert NeuronSets.load(place, ["zh", "sw"], 8, 2, site="mlp.act").names == ("zh", "sw")
        assert NeuronSets.load(place, format="alignlab").shape == (2, 8)
    with pytest.raises(InputError) as caught:
        NeuronSets.load(path, ["sw", "zh"], 9, 3, site="mlp.up")
    assert len(caught.value.problems) == 4


class Malicious:
    """Runs a command when it is unpickled the careless way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("format_", [None, "lape", "culture"])
def test_a_file_that_would_execute_is_refused_and_does_not(format_: str | None, tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "mask.pth"
    content = [[torch.tensor([1])], [Malicious(marker)]]
    torch.save(content, path)
    torch.load(path, weights_only=False)
    assert marker.exists()  # the trap works
    marker.unlink()
    writers: list[Callable[[], object]] = [
        lambda: torch.save(content, path),
        lambda: torch.save(content, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps(content, protocol=2)),
    ]
    for write in writers:
        write()
        with pytest.raises(InputError, match=r"mask\.pth"):
            NeuronSets.load(path, ["zh"], 8, format=format_)
        assert not marker.exists()


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = write_indices(tmp_path / "mask")
    whole = path.read_bytes()
    for content in (b"", b"\x80", whole[:100], whole[: len(whole) // 2], b"no torch file at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="mask"):
            NeuronSets.load(path, LANGUAGES, 8)
    with pytest.raises(InputError, match="no such file"):
        NeuronSets.load(tmp_path / "none", LANGUAGES, 8)
    with pytest.raises(InputError, match="cannot be read"):
        NeuronSets.load(tmp_path, LANGUAGES, 8)
