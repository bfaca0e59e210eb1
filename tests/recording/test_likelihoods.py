"""Records of likelihoods, against each text's loss put into its place by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

from alignlab.data.encoding import Document
from alignlab.models.edits import Arm, NeuronEdit, edited
from alignlab.recording.counting import Origin
from alignlab.recording.effects import BASELINE, ArmLabel, Effects, Item
from alignlab.recording.likelihoods import ScoredChoice, effects_on_choices, effects_on_texts, labelled, texts_of
from alignlab.recording.scoring import score

OFF: Arm = (NeuronEdit(torch.tensor([0, 1]), torch.tensor([3, 5]), torch.zeros(2), torch.ones(2)),)
ORIGIN = Origin("demo", "abc", 20, ("de",), "en")


def text(name: str, language: str, prompt: int, answer: int, seed: int) -> Document:
    tokens = np.random.default_rng(seed).integers(3, 300, size=prompt + answer).astype(np.int32)
    mask = np.arange(prompt + answer) >= prompt
    return Document(name, language, tokens, mask, np.zeros_like(mask), cluster=f"c{name}")


def nats_of(model: LlamaForCausalLM, document: Document, arm: Arm) -> float:
    ids = torch.tensor(document.tokens).long().unsqueeze(0)
    with torch.no_grad(), edited(model, [arm]):
        logits = model(input_ids=ids).logits[0].log_softmax(-1)
    return -sum(float(logits[at - 1, ids[0, at]]) for at in range(ids.shape[1]) if document.answer[at])


def test_texts_are_items(tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    documents = [text("0", "en", 3, 4, 1), text("0", "de", 2, 6, 2), text("1", "de", 1, 1, 3)]
    labels = labelled([BASELINE, ArmLabel("zero de", "de", "zero")], [(), OFF])
    found = score(tiny_llama, documents, [(), OFF], max_tokens_per_batch=50)
    effects_on_texts(documents, labels, found, origin=ORIGIN, task="probe").save(tmp_path / "effects")
    effects = Effects.load(tmp_path / "effects")
    assert effects.items == (Item("0", "en", "c0"), Item("0", "de", "c0"), Item("1", "de", "c1"))
    assert (effects.model, effects.step, effects.trained_languages, effects.task) == ("demo", 20, ("de",), "probe")
    expected = [[nats_of(tiny_llama, document, arm) for arm in ((), OFF)] for document in documents]
    assert torch.allclose(effects.measured("nats"), torch.tensor(expected, dtype=torch.float64), rtol=1e-5)
    assert effects.measured("counted").tolist() == [4, 6, 1]
    assert len({label.digest for label in effects.labels}) == 2


def test_options_of_choices_are_padded(tiny_llama: LlamaForCausalLM) -> None:
    choices = [
        ScoredChoice((text("0", "en", 3, 4, 1), text("0", "en", 3, 2, 2)), (9, 8), 1),
        ScoredChoice((text("0", "de", 2, 1, 3), text("0", "de", 2, 5, 4), text("0", "de", 2, 3, 5)), (3, 2, 1)),
    ]
    found = score(tiny_llama, texts_of(choices), [(), OFF], max_tokens_per_batch=50)
    effects = effects_on_choices(choices, [BASELINE, ArmLabel("off")], found, origin=ORIGIN)
    assert effects.items == (Item("0", "en", "c0", "1"), Item("0", "de", "c0"))
    assert effects.measured("option_nats").shape == (2, 2, 3)
    for item, choice in enumerate(choices):
        for place, arm in enumerate(((), OFF)):
            row = effects.measured("option_nats")[item, place].tolist()
            for option in range(3):
                if option < len(choice.options):
                    assert math.isclose(row[option], nats_of(tiny_llama, choice.options[option], arm), rel_tol=1e-5)
                else:
                    assert math.isnan(row[option])
    assert effects.measured("option_tokens").tolist() == [[4, 2, 0], [1, 5, 3]]
    assert effects.measured("option_characters").tolist() == [[9, 8, 0], [3, 2, 1]]
