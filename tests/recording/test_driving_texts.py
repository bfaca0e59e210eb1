"""The record of texts that drive neurons: what it says, its file, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from alignlab.checksums import save_checked
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin
from alignlab.recording.driving_texts import DRIVING, DrivingTexts, record_driving_texts
from alignlab.recording.means import record_means
from alignlab.recording.probes import Probe, build_probe

from ..conftest import SENTENCES

NEURONS = [(1, 47), (0, 3), (1, 0)]


def make_probe(tokenizer: Any, count: int = 4) -> Probe:
    records = [
        Record(str(number), code, f"{sentence} {number}", cluster="")
        for code in ("en", "zh")
        for number, sentence in enumerate(SENTENCES[:count])
    ]
    probe = build_probe(records, tokenizer, scope="all", shards=1)
    assert isinstance(probe, Probe)
    return probe


@pytest.fixture
def probe(tokenizer: PreTrainedTokenizerFast) -> Probe:
    return make_probe(tokenizer)


def record(model: Any, probe: Probe, tokenizer: Any, neurons: Any = NEURONS, **options: Any) -> DrivingTexts:
    return record_driving_texts(model, find_sites(model), probe, neurons, tokenizer, **options)


def test_every_activation_is_on_the_token_that_it_names(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The text is that of the document and token, and a forward of that document alone has that activation there."""
    texts = record(tiny_llama, probe, tokenizer, highest=3, around=1000, origin=Origin("tiny", "r", 7))
    assert texts.neurons.tolist() == [[0, 3], [1, 0], [1, 47]]
    assert (texts.model, texts.revision, texts.step, texts.k) == ("tiny", "r", 7, 3)
    assert (texts.languages, texts.scope, texts.shape) == (("en", "zh"), "all", (2, 48))
    assert texts.data_fingerprint == probe.fingerprint
    assert texts.tokens == tuple(int(probe.tokens(language).sum()) for language in texts.languages)
    seen: list[torch.Tensor] = []
    handles = [
        layer.mlp.act_fn.register_forward_hook(lambda _m, _i, out: seen.append(out[0]))
        for layer in tiny_llama.model.layers
    ]
    for language in texts.languages:
        documents = {one.id: one for one in probe.documents[language]}
        for layer, neuron in NEURONS:
            found = texts.of(layer, neuron, language)
            assert len(found) == 3
            assert [one.activation for one in found] == sorted((one.activation for one in found), reverse=True)
            for one in found:
                document = documents[one.document]
                seen.clear()
                with torch.no_grad():
                    tiny_llama(input_ids=torch.from_numpy(document.tokens).long()[None])
                assert float(seen[layer][one.position, neuron]) == pytest.approx(one.activation, rel=1e-4)
                assert one.window is not None
                whole = tokenizer.decode(document.tokens.tolist())
                assert one.window.before + one.window.token + one.window.after == whole
                piece = tokenizer.decode(document.tokens[one.position : one.position + 1].tolist())
                assert piece == one.window.token or not one.window.whole
    for handle in handles:
        handle.remove()


def test_it_comes_back_from_its_file(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = record(tiny_llama, probe, tokenizer, origin=Origin("tiny", "r", 7))
    made.save(tmp_path / "texts.safetensors")
    found = DrivingTexts.load(tmp_path / "texts.safetensors")
    for name in (*DRIVING.values, *DRIVING.texts, "ids", "texts"):
        assert getattr(found, name) == getattr(made, name), name
    for name in ("neurons", "activations", "documents", "positions", "windows"):
        assert torch.equal(getattr(found, name), getattr(made, name)), name
    assert repr(found) == "<DrivingTexts: 3 of 2 x 48 neurons at mlp.act, tiny\n the 5 highest in each of en zh>"
    again = tmp_path / "again.safetensors"
    record(tiny_llama, probe, tokenizer, origin=Origin("tiny", "r", 7)).save(again)
    assert again.read_bytes() == (tmp_path / "texts.safetensors").read_bytes()


def test_no_text_is_in_the_file_where_none_is_to_be_stored(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for around, there in ((None, False), (60, True)):
        made = record(tiny_llama, probe, tokenizer, around=around)
        made.save(tmp_path / "texts.safetensors")
        content = (tmp_path / "texts.safetensors").read_bytes().decode("utf-8", "replace")
        assert any(word in content for word in ("apples", "street", "苹果", "Äpfel")) == there
        (first, *_) = DrivingTexts.load(tmp_path / "texts.safetensors").of(0, 3, "en")
        assert (first.window is not None) == there
        assert first.document in {"0", "1", "2", "3"}


def test_fewer_tokens_than_asked_for_are_told(tiny_llama: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    short = make_probe(tokenizer, 1)
    numbers = {language: int(short.tokens(language).sum()) for language in short.languages}
    texts = record(tiny_llama, short, tokenizer, highest=numbers["en"] + 1)
    assert texts.notes == [
        f"{language} has {number} counted tokens, fewer than the {numbers['en'] + 1} highest asked for"
        for language, number in numbers.items()
    ]
    assert len(texts.of(0, 3, "en")) == numbers["en"]
    assert record(tiny_llama, short, tokenizer, highest=1).notes == []


BAD: list[tuple[dict[str, Any], str]] = [
    ({"highest": 0}, "1 or more"),
    ({"highest": -3}, "1 or more"),
    ({"around": -1}, "None to store no text"),
    ({"neurons": []}, "one or more neurons"),
    ({"neurons": [(2, 0)]}, "no neuron 0 in layer 2"),
    ({"neurons": [(0, 48)]}, "no neuron 48 in layer 0"),
    ({"neurons": [(-1, 0)]}, "no neuron 0 in layer -1"),
    ({"neurons": [(0, -1)]}, "no neuron -1 in layer 0"),
    ({"neurons": [(0, 1), (0, 1)]}, "0.1 is named more than once"),
    ({"neurons": [(5, 1)], "highest": 0, "around": -1}, "(?s)highest.*around.*layer 5"),
]


@pytest.mark.parametrize(("options", "said"), BAD, ids=[said for _, said in BAD])
def test_what_cannot_be_asked_is_refused_before_the_pass(
    options: dict[str, Any], said: str, tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast
) -> None:
    sites = find_sites(tiny_llama)
    tiny_llama.register_forward_pre_hook(lambda *_: pytest.fail("a forward"))
    asked = {"neurons": NEURONS, **options}
    with pytest.raises(InputError, match=said):
        record_driving_texts(tiny_llama, sites, probe, asked.pop("neurons"), tokenizer, **asked)


def test_a_model_that_has_diverged_is_refused(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast
) -> None:
    tiny_llama.model.layers[1].mlp.gate_proj.weight.data[:] = torch.inf
    with pytest.raises(InputError, match="diverged"):
        record(tiny_llama, probe, tokenizer, neurons=[(0, 1)])


def test_what_is_not_in_the_record_is_refused(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = record(tiny_llama, probe, tokenizer)
    with pytest.raises(
        InputError, match=r"(?s)0\.4 is not in the record.*'eng' is not in the record.*Did you mean 'en'"
    ):
        texts.of(0, 4, "eng")


Change = Callable[[dict[str, torch.Tensor], dict[str, str]], object]
HOSTILE: dict[str, Change] = {
    "another format": lambda _t, m: m.update(format="alignlab-means"),
    "another version": lambda _t, m: m.update(format_version="99"),
    "no languages": lambda _t, m: m.update(languages="[]"),
    "a language twice": lambda _t, m: m.update(languages='["en", "en"]'),
    "more languages than rows": lambda _t, m: m.update(languages='["en", "zh", "de"]'),
    "languages of another type": lambda _t, m: m.update(languages='{"en": 1}'),
    "a step that is none": lambda _t, m: m.update(step='"seven"'),
    "no shape": lambda _t, m: m.pop("shape"),
    "tokens of one language": lambda _t, m: m.update(tokens="[3]"),
    "no activations": lambda t, _m: t.pop("activations"),
    "activations that are no numbers": lambda t, _m: t.update(activations=t["activations"].nan_to_num().int()),
    "activations of two axes": lambda t, _m: t.update(activations=t["activations"][0]),
    "no neuron": lambda t, _m: t.update({name: t[name][:, :0] for name in ("activations", "documents", "positions")}),
    "a neuron outside": lambda t, _m: t["neurons"].__setitem__((0, 1), 48),
    "a neuron twice": lambda t, _m: t["neurons"].__setitem__(0, t["neurons"][1].clone()),
    "neurons that are no integers": lambda t, _m: t.update(neurons=t["neurons"].double()),
    "a document that is not there": lambda t, _m: t["documents"].__setitem__((0, 0, 0), 999),
    "a window that is not there": lambda t, _m: t["windows"].__setitem__((0, 0, 0), 999_999),
    "a document below none": lambda t, _m: t["documents"].__setitem__((0, 0, 0), -2),
    "a position below none": lambda t, _m: t["positions"].__setitem__((0, 0, 0), -2),
    "positions of another shape": lambda t, _m: t.update(positions=t["positions"][:, :, :1]),
    "texts that are no JSON": lambda t, _m: t.update(texts=torch.tensor([255, 0, 7], dtype=torch.uint8)),
    "texts of another form": lambda t, _m: t.update(
        texts=torch.frombuffer(bytearray(json.dumps({"ids": 3}).encode()), dtype=torch.uint8)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_of_other_content_are_refused(
    name: str, tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = tmp_path / "texts.safetensors"
    record(tiny_llama, probe, tokenizer).save(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if "checksum" not in key}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    HOSTILE[name](tensors, metadata)
    save_checked(path, tensors, metadata)
    with pytest.raises(InputError) as refused:
        DrivingTexts.load(path)
    assert all("texts.safetensors" in problem.where for problem in refused.value.problems)


def test_files_that_are_missing_torn_damaged_or_of_another_kind_are_refused(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = tmp_path / "texts.safetensors"
    with pytest.raises(InputError, match="there is no such file"):
        DrivingTexts.load(path)
    record(tiny_llama, probe, tokenizer).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="truncated"):
        DrivingTexts.load(path)
    path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    with pytest.raises(InputError, match="checksum"):
        DrivingTexts.load(path)
    means = record_means(tiny_llama, find_sites(tiny_llama), probe, tmp_path / "means").folder / "layer-000.safetensors"
    with pytest.raises(InputError, match="alignlab-driving-texts"):
        DrivingTexts.load(means)


def test_a_record_that_is_no_record_cannot_be_made(
    tiny_llama: Any, probe: Probe, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = record(tiny_llama, probe, tokenizer)
    assert replace(texts, model="other").of(0, 3, "en") == texts.of(0, 3, "en")
    for change, said in (
        ({"neurons": texts.neurons[:, 0]}, r"\(n, 2\)"),
        ({"windows": texts.windows.bool()}, "integers"),
        ({"ids": []}, "from 0 to|to -1"),
    ):
        with pytest.raises(InputError, match=said):
            replace(texts, **change)  # type: ignore[arg-type]
