"""Probes that the model answers itself: which tokens are counted, what is kept, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from alignlab.callbacks import NeuronTracker
from alignlab.checksums import of_values
from alignlab.data.encoding import Document
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.models.sites import find_sites
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, PromptProbe, build_probe
from alignlab.recording.responses import check_can_answer, recall, respond
from alignlab.recording.responses_file import read_answers

LANGUAGES = ("en", "de", "sw")
WORDS = "the red fox runs over seven old hills while birds sing".split()  # noqa: SIM905
NEW = 9
FREQUENT = 257  # a token of many answers
KINDS = ("generated_once", "regenerated")


def records(count: int = 7, languages: tuple[str, ...] = LANGUAGES) -> list[Record]:
    rng = np.random.default_rng(0)
    return [
        Record(str(number), language, " ".join(rng.choice(WORDS, size=rng.integers(1, 9))), "the data's answer")
        for language in languages
        for number in range(count)
    ]


def make_probe(tokenizer: Any, responses: Any = "generated_once", **changes: Any) -> Any:
    options: dict[str, Any] = {"shards": 3, "max_tokens_per_batch": 90, "max_new_tokens": NEW}
    return build_probe(changes.pop("records", records()), tokenizer, responses=responses, **{**options, **changes})


def change(model: Any) -> None:
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.data += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))


def changed(model: Any) -> Any:
    other = copy.deepcopy(model)
    change(other)
    return other


def slow_answer(model: Any, prompt: list[int], eos: int) -> list[int]:
    tokens: list[int] = []
    while len(tokens) < NEW and tokens[-1:] != [eos]:
        with torch.no_grad():
            tokens.append(int(model(input_ids=torch.tensor([prompt + tokens])).logits[0, -1].argmax()))
    return tokens


def slow_counts(model: Any, probe: Probe, eos: int, *, special: bool) -> tuple[np.ndarray, np.ndarray]:
    """Firings (G, S, L, N) and tokens (G, S) of the model's own answers, text by text from the prompts on."""
    firings = np.zeros((3, 3, 2, 48), dtype=np.int64)
    tokens = np.zeros((3, 3), dtype=np.int64)
    seen: list[Tensor] = []
    for g, language in enumerate(probe.languages):
        for number, document in enumerate(probe.documents[language]):
            prompt = document.tokens.tolist()
            answer = slow_answer(model, prompt, eos)
            seen.clear()
            handles = [
                layer.mlp.act_fn.register_forward_hook(lambda _m, _i, out: seen.append(out))
                for layer in model.model.layers
            ]
            with torch.no_grad():
                model(input_ids=torch.tensor([prompt + answer]))
            for handle in handles:
                handle.remove()
            for place, token in enumerate(answer, start=len(prompt)):
                if token < 3 and not special:  # BOS, EOS and padding are the tokens 0 to 2
                    continue
                tokens[g, number % 3] += 1
                for layer in range(2):
                    firings[g, number % 3, layer] += (seen[layer][0, place] > 0).numpy()
    return firings, tokens


@pytest.fixture
def model(tiny_llama: Any) -> Any:
    """In double precision, in which the batch does not matter; some of its answers are ended by an EOS."""
    tiny_llama.lm_head.weight.data[1] = 1.05 * tiny_llama.lm_head.weight.data[FREQUENT]
    return tiny_llama.double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", [False, True])
def test_counts_are_those_of_the_very_tokens_that_the_model_gives(
    kind: str, special: bool, tokenizer: Any, model: Any, tmp_path: Path
) -> None:
    probe = make_probe(tokenizer, kind, count_special_tokens=special)
    answered = respond(probe, model, folder=tmp_path, step=0)
    counts = count_firings(model, find_sites(model), answered, origin=Origin())
    firings, tokens = slow_counts(model, probe, tokenizer.eos_token_id, special=special)
    assert np.array_equal(counts.tokens.numpy(), tokens)
    assert np.array_equal(counts.firings.numpy().astype(np.int64), firings)
    assert firings.sum() > 500
    ended = [bool(d.special[-1]) for documents in answered.documents.values() for d in documents]
    assert 0 < sum(ended) < len(ended)
    assert counts.data_fingerprint == answered.fingerprint != probe.fingerprint


def test_prompts_without_responses_are_not_counted(tokenizer: Any, model: Any) -> None:
    with pytest.raises(InputError) as refusal:
        count_firings(model, find_sites(model), make_probe(tokenizer), origin=Origin())
    assert str(refusal.value) == (
        "probe.responses: generated_once, and the prompts have not been answered; "
        "expected responses to count, or reference ones."
    )


def test_reference_probes_are_left_alone(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    probe = make_probe(tokenizer, "reference")
    assert respond(probe, model, folder=tmp_path, step=0) is probe
    assert recall(probe, tmp_path, 4) is probe
    assert list(tmp_path.iterdir()) == []
    assert probe.tokens("en").sum() > 0


def test_the_prompts_are_those_of_the_data_without_its_answers(tokenizer: Any) -> None:
    reference, own = make_probe(tokenizer, "reference"), make_probe(tokenizer)
    for language in LANGUAGES:
        for whole, prompt in zip(reference.documents[language], own.documents[language], strict=True):
            assert whole.id == prompt.id
            assert whole.tokens[~whole.answer].tolist() == prompt.tokens.tolist()
            assert not prompt.answer.any()


def test_generated_once_is_generated_once(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    probe = make_probe(tokenizer)
    first = respond(probe, model, folder=tmp_path, step=0)
    written = (tmp_path / "responses.jsonl").read_bytes()
    lines = [json.loads(line) for line in written.decode().splitlines()]
    assert [(line["language"], line["id"]) for line in lines] == [
        (document.language, document.id) for documents in probe.documents.values() for document in documents
    ]
    assert lines[0]["prompt"] == "<bos>" + next(r.prompt for r in records() if r.id == lines[0]["id"]) + "\n"
    assert lines[0]["text"] == tokenizer.decode(lines[0]["tokens"], skip_special_tokens=True)
    other = changed(model)
    for step in (0, 2, 40):
        again = respond(probe, other, folder=tmp_path, step=step)
        assert again.fingerprint == first.fingerprint == recall(probe, tmp_path, step).fingerprint
    assert (tmp_path / "responses.jsonl").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["responses.jsonl"]
    # What step 0 has not left is not made up later.
    with pytest.raises(InputError, match=r"there is no such file; expected the responses counted before"):
        respond(probe, model, folder=tmp_path / "elsewhere", step=2)


def test_regenerated_follows_the_weights(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    probe = make_probe(tokenizer, "regenerated")
    first = respond(probe, model, folder=tmp_path, step=0)
    assert respond(probe, model, folder=tmp_path, step=2).fingerprint == first.fingerprint
    other = changed(model)
    later = respond(probe, other, folder=tmp_path, step=40)
    assert later.fingerprint != first.fingerprint
    for g, language in enumerate(LANGUAGES):
        for prompt, document in zip(probe.documents[language], later.documents[language], strict=True):
            expected = slow_answer(other, prompt.tokens.tolist(), tokenizer.eos_token_id)
            assert document.tokens[document.answer].tolist() == expected, (g, document.id)
    # A step that is redone is replaced; what was counted before can be had back.
    assert recall(probe, tmp_path, 0).fingerprint == first.fingerprint
    assert recall(probe, tmp_path, 40).fingerprint == later.fingerprint
    respond(probe, model, folder=tmp_path, step=40)
    assert recall(probe, tmp_path, 40).fingerprint == first.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:06d}.responses.jsonl" for step in (0, 2, 40)
    ]


def test_only_the_main_rank_writes(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    probe = make_probe(tokenizer)
    assert respond(probe, model, folder=tmp_path, step=0, main=False).tokens("en").sum() > 0
    assert list(tmp_path.iterdir()) == []


def edited(**changes: Any) -> Callable[[str], str]:
    """The file with other values in its second line, as one without checksums, from before there were any."""

    def edit(text: str) -> str:
        lines = text.splitlines()
        lines[1] = json.dumps({**json.loads(lines[1]), "checksum": None, **changes})
        return "\n".join(lines) + "\n"

    return edit


DAMAGES: list[tuple[Callable[[str], str], str]] = [
    (lambda text: "", "it holds 0 whole lines for 21 prompts"),
    (lambda text: text[:-40], "it holds 20 whole lines for 21 prompts"),
    (lambda text: text + text.splitlines()[-1] + "\n", "it holds 22 whole lines for 21 prompts"),
    (lambda text: text.replace('{"language"', '"language"', 1), "line 1 is no JSON"),
    (lambda text: "[]\n" + text.partition("\n")[2], "line 1 is no response"),
    (edited(language="zh"), "line 2 answers another prompt than 'en', "),
    (edited(prompt="<bos>another\n"), "line 2 answers another prompt than 'en', "),
    (edited(tokens="5 6"), "line 2 holds no token ids"),
    (edited(tokens=[]), "line 2 holds no token ids"),
    (edited(tokens=[4, -1]), "line 2 holds no token ids"),
    (edited(tokens=[True]), "line 2 holds no token ids"),
    (edited(ended="yes"), "line 2 holds no token ids"),
    (edited(tokens=[5, 6], ended=False), "line 2 has a response of 2 tokens, cut elsewhere"),
    (edited(tokens=[5] * 10, ended=True), "line 2 has a response of 10 tokens, cut elsewhere"),
]


@pytest.mark.parametrize(("damage", "found"), DAMAGES, ids=[found[:40] for _, found in DAMAGES])
def test_a_damaged_file_is_refused_in_a_line(
    damage: Callable[[str], str], found: str, tokenizer: Any, model: Any, tmp_path: Path
) -> None:
    probe = make_probe(tokenizer)
    respond(probe, model, folder=tmp_path, step=0)
    path = tmp_path / "responses.jsonl"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        respond(probe, model, folder=tmp_path, step=0)
    assert len(refusal.value.problems) == 1
    assert str(refusal.value).startswith(f"{path}: {found}")
    assert "expected the responses of this run to its probe. Restore the file" in str(refusal.value)


def test_every_changed_character_is_found(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    """A line that still reads as a response to its prompt is refused too: by its checksum."""
    probe = make_probe(tokenizer)
    whole = respond(probe, model, folder=tmp_path, step=0)
    path = tmp_path / "responses.jsonl"
    content = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for place in random.choice(len(content), 300, replace=False):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(flipped))
        try:
            read = recall(probe, tmp_path, 0)
        except InputError as error:
            refused += str(path) in str(error)
        else:
            assert read.fingerprint == whole.fingerprint
    assert refused > 250


def test_a_file_of_bytes_is_refused(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    (tmp_path / "responses.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no text in UTF-8"):
        respond(make_probe(tokenizer), model, folder=tmp_path, step=0)


def test_a_folder_that_cannot_be_written_is_refused(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(InputError, match="the responses of step 0 could not be written"):
        respond(make_probe(tokenizer), model, folder=tmp_path / "taken", step=0)


def test_odd_characters_come_back(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    odd = [Record(str(n), code, "a\u2028b\x85c\rd\x0be") for code in ("en", "de") for n in range(2)]
    probe = make_probe(tokenizer, records=odd)
    answered = respond(probe, model, folder=tmp_path, step=0)
    assert recall(probe, tmp_path, 3).fingerprint == answered.fingerprint


def test_the_fingerprint_of_prompts_tells_how_they_are_answered(tokenizer: Any) -> None:
    prints = [
        make_probe(tokenizer).fingerprint,
        make_probe(tokenizer, "regenerated").fingerprint,
        make_probe(tokenizer, max_new_tokens=8).fingerprint,
        make_probe(tokenizer, prompts=Prompts(template="Q: {prompt}\n")).fingerprint,
        make_probe(tokenizer, "reference").fingerprint,
        make_probe(tokenizer, "reference", records=[replace(r, answer="") for r in records()], scope="all").fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    # The data's answers are none of its business, nor is the limit of those of the data.
    silent = [replace(record, answer="") for record in records()]
    assert make_probe(tokenizer, records=silent).fingerprint == prints[0]
    assert make_probe(tokenizer, "reference", max_new_tokens=3).fingerprint == prints[4]


@pytest.mark.parametrize("kind", KINDS)
def test_answered_prompts_stay_in_their_shards(kind: str, tokenizer: Any, model: Any, tmp_path: Path) -> None:
    clustered = [Record(one.id, one.language, one.prompt, one.answer, f"c{int(one.id) % 4}") for one in records()]
    probe = make_probe(tokenizer, kind, records=clustered)
    answered = respond(probe, model, folder=tmp_path, step=0)
    assert answered.clusters == probe.clusters != ""
    for language in LANGUAGES:
        assert answered.shards_of(language).tolist() == probe.shards_of(language).tolist()
        shard_of = {
            document.cluster: shard
            for document, shard in zip(answered.documents[language], answered.shards_of(language), strict=True)
        }
        assert [shard_of[f"c{int(document.id) % 4}"] for document in probe.documents[language]] == probe.shards_of(
            language
        ).tolist()
    assert recall(probe, tmp_path, 0).fingerprint == answered.fingerprint


def test_what_may_be_counted_at_most(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    probe = make_probe(tokenizer, count_special_tokens=True)
    assert probe.tokens("en").tolist() == [0, 0, 0]
    assert probe.most_tokens("en").tolist() == [3 * NEW, 2 * NEW, 2 * NEW]
    answered = respond(probe, model, folder=tmp_path, step=0)
    assert (answered.most_tokens("en") == answered.tokens("en")).all()
    assert (answered.tokens("en") <= probe.most_tokens("en")).all()
    reference = make_probe(tokenizer, "reference")
    assert (reference.most_tokens("en") == reference.tokens("en")).all()
    everything = make_probe(tokenizer, scope="all")
    assert (everything.most_tokens("en") - everything.tokens("en")).tolist() == [3 * NEW, 2 * NEW, 2 * NEW]


def test_prompts_need_no_answers_but_text(tokenizer: Any) -> None:
    prompts = [replace(record, answer="") for record in records()]
    assert isinstance(make_probe(tokenizer, records=prompts), PromptProbe)
    with pytest.raises(InputError, match="has no token to count"):
        make_probe(tokenizer, "reference", records=[replace(record, answer="") for record in records()])
    empty = Document("0", "de", np.zeros(0, dtype=np.int32), np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    probe = make_probe(tokenizer)
    with pytest.raises(InputError) as refusal:
        replace(probe, documents={**probe.documents, "de": [empty]}).check()
    assert (
        str(refusal.value)
        == "probe (responses generated_once): language 'de' has empty prompts; expected text to answer."
    )


def test_a_tokenizer_that_ends_texts_does_not_end_prompts(tokenizer: Any) -> None:
    from tokenizers import processors

    closing = PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(tokenizer.backend_tokenizer), bos_token="<bos>", eos_token="<eos>"
    )
    closing.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 0), ("<eos>", 1)]
    )
    assert closing("the").input_ids[-1] == 1
    plain = make_probe(tokenizer)
    for language, documents in make_probe(closing).documents.items():
        assert [d.tokens.tolist() for d in documents] == [d.tokens.tolist() for d in plain.documents[language]]
    assert make_probe(closing, "reference").documents["en"][0].tokens[-1] == 1


def test_an_eos_that_only_the_model_knows_is_special(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    prompts = make_probe(tokenizer)
    answers = [d.tokens[d.answer] for d in respond(prompts, model, folder=tmp_path, step=0).documents["en"]]
    token = int(answers[0][0]) if answers[0][0] > 2 else int(answers[0][1])
    model.generation_config.eos_token_id = [token, tokenizer.eos_token_id]
    answered = respond(prompts, model, folder=tmp_path / "own", step=0)
    ends = [d for documents in answered.documents.values() for d in documents if d.tokens[-1] == token]
    assert ends
    assert all(d.special[-1] for d in ends)
    assert recall(prompts, tmp_path / "own", 0).fingerprint == answered.fingerprint


def test_a_model_of_too_few_positions_is_refused(tokenizer: Any, tiny_llama: Any) -> None:
    probe = make_probe(tokenizer)
    check_can_answer(probe, tiny_llama)
    longest = max(len(d) for documents in probe.documents.values() for d in documents)
    tiny_llama.config.max_position_embeddings = longest + NEW
    check_can_answer(probe, tiny_llama)
    tiny_llama.config.max_position_embeddings -= 1
    check_can_answer(make_probe(tokenizer, "reference"), tiny_llama)
    with pytest.raises(InputError) as refusal:
        NeuronTracker(probe, folder="unused").prepare(tiny_llama)
    assert str(refusal.value) == (
        f"probe.max_new_tokens: a prompt of {longest} tokens and 9 new ones for a model of {longest + 8} positions; "
        f"expected {longest + 8} together at most. Set a smaller probe.max_new_tokens or probe.max_length."
    )


def fall_silent(model: Any, probe: Probe, languages: tuple[str, ...]) -> None:
    """Make the model begin its answers to some languages with an EOS, whatever comes after other prompts."""
    starts = {tuple(d.tokens.tolist()) for language in languages for d in probe.documents[language]}

    def silence(_module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        ids = kwargs["input_ids"]
        for row in range(len(ids)):
            if tuple(token for token in ids[row].tolist() if token) in {tuple(t for t in s if t) for s in starts}:
                output.logits[row, -1, 1] = 1e4
        return output

    model.register_forward_hook(silence, with_kwargs=True)


def test_a_language_without_an_answer_is_counted_and_said(
    tokenizer: Any, model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = make_probe(tokenizer, "regenerated")
    tracker = NeuronTracker(probe, folder=tmp_path, identifier=TernaryConfig(top_rate=0.3, bar=0.6))
    tracker.prepare(model)
    tracker.take(model, 0)
    assert "answers nothing" not in capsys.readouterr().out
    fall_silent(model, probe, ("sw",))
    tracker.take(model, 2)
    assert "note: the model answers nothing in sw: all probabilities there are 0" in capsys.readouterr().out
    counts = ActivationCounts.load(tmp_path / "neurons/step-000002.safetensors")
    assert counts.tokens.sum(dim=1).bool().tolist() == [True, True, False]
    assert not counts.probabilities()[2].any()
    assert counts.loss_tokens is not None
    assert int(counts.loss_tokens[2].sum()) == 0


def test_a_model_that_answers_nothing_at_all_is_refused(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    probe = make_probe(tokenizer)
    fall_silent(model, probe, LANGUAGES)
    with pytest.raises(InputError, match="the model answers nothing: all its responses are an EOS; expected a token"):
        respond(probe, model, folder=tmp_path, step=0)
    # The prompts can still be counted.
    assert respond(make_probe(tokenizer, scope="all"), model, folder=tmp_path / "all", step=0).tokens("sw").all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tracker_goes_on_only_from_its_own_responses(kind: str, tokenizer: Any, model: Any, tmp_path: Path) -> None:
    def tracker(**changes: Any) -> NeuronTracker:
        probe = make_probe(tokenizer, kind, **changes)
        identifier = TernaryConfig(top_rate=0.3, bar=0.6)
        taker = NeuronTracker(probe, folder=tmp_path, identifier=identifier, show=False)
        taker.prepare(model)
        return taker

    begun = tracker()
    begun.take(model, 0)
    change(model)
    begun.take(model, 2)
    again = tracker()
    again.pick_up(2)
    assert again.taken(2)
    assert again.first is not None
    assert begun.first is not None
    assert again.first.anchored == begun.first.anchored
    with pytest.raises(InputError, match="answers another prompt"):
        tracker(prompts=Prompts(template="Q: {prompt}\n")).pick_up(2)
    with pytest.raises(InputError, match="counted on another probe"):
        tracker(shards=4).pick_up(2)
    with pytest.raises(InputError, match="cut elsewhere"):
        tracker(max_new_tokens=5).pick_up(2)
    path = tmp_path / "neurons" / ("responses.jsonl" if kind == "generated_once" else "step-000000.responses.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[0]["tokens"][0] = 9
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(InputError, match="line 1: its checksum does not fit"):
        tracker().pick_up(2)
    del lines[0]["checksum"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(InputError, match="counted on another probe"):
        tracker().pick_up(2)
    path.unlink()
    with pytest.raises(InputError, match="there is no such file; expected the responses counted before"):
        tracker().pick_up(2)


def test_answers_with_other_ends_of_lines_are_read_and_damaged_ones_are_not(tmp_path: Path) -> None:
    rows = [{"text": text} for text in ("a\u2028b\x85c", "\u2029\x0b\x0c\r", "\r\n", "")]
    lines = [json.dumps(row | {"checksum": of_values(row)}, ensure_ascii=False) + "\n" for row in rows]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    assert read_answers(path) == dict(enumerate(rows))
    assert read_answers(path, {1, 3}) == {1: rows[1], 3: rows[3]}
    with pytest.raises(InputError, match="line 8: its checksum does not fit"):
        read_answers(path, {7})
    path.write_text(lines[0] + lines[1].replace('"text": "', '"text": "x') + lines[2], encoding="utf-8", newline="\n")
    assert read_answers(path, {0, 2}) == {0: rows[0], 2: rows[2]}
    with pytest.raises(InputError, match="line 2: its checksum does not fit"):
        read_answers(path)
    with pytest.raises(InputError, match="it cannot be read"):
        read_answers(tmp_path)
