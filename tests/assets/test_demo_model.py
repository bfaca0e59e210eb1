"""The demo model that lies in the package: its size, its tokenizer, its card, and what the card says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import alignlab
from alignlab.data.wordproblems import LANGUAGES, generate

FOLDER = Path(alignlab.__file__).parent / "assets" / "demo_model"
CARD = FOLDER / "README.md"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER)


def measured() -> dict[str, tuple[float, float]]:
    """Language -> (loss, accuracy), as the card's table gives them."""
    rows = re.findall(r"^\| (\w+) \|(?: \d+% \|)+ (\d+\.\d+) \| (\d+\.\d+) \|$", CARD.read_text(), re.MULTILINE)
    return {code: (float(loss), float(accuracy)) for code, loss, accuracy in rows}


def test_the_folder_is_small_and_holds_nothing_that_runs() -> None:
    files = list(FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) <= 8 * 2**20
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    assert (FOLDER / "model.safetensors").exists()


def test_digits_and_line_breaks_are_single_tokens(tokenizer: Any) -> None:
    for digit in "0123456789\n":
        assert len(tokenizer(digit, add_special_tokens=False)["input_ids"]) == 1
    for text in ("= 4711", "有40个", "1234567890", "#### 60\n"):
        tokens = tokenizer.tokenize(text)
        assert sum(piece in "0123456789" for piece in tokens) == sum(one.isdigit() for one in text)
        assert not any(re.search(r"\d", piece) for piece in tokens if len(piece) > 1)


def test_special_tokens(tokenizer: Any) -> None:
    ids = tokenizer("Anna has")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in ids[1:]
    assert tokenizer.eos_token_id not in ids
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3
    assert tokenizer.pad_token_id is not None


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_begins_a_token_of_its_own(tokenizer: Any, language: str) -> None:
    """Prompt and answer give the same tokens together and apart, and decode to what they were."""
    for record in generate([language], 40, "test", seed=9):
        prompt, text = f"{record.prompt}\n", f"{record.prompt}\n{record.answer}"
        whole = tokenizer(text, return_offsets_mapping=True)
        apart = tokenizer(prompt)["input_ids"] + tokenizer(record.answer, add_special_tokens=False)["input_ids"]
        assert whole["input_ids"] == apart
        assert len(prompt) in {start for start, _ in whole["offset_mapping"]}
        assert tokenizer.decode(whole["input_ids"], skip_special_tokens=True) == text
        assert len(apart) < len(text.encode()), "nothing was merged"


def test_the_model_is_a_llama_of_the_stated_size(model: Any, tokenizer: Any) -> None:
    assert model.config.model_type == "llama"
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.max_position_embeddings == 2048
    assert f"{model.num_parameters():,} parameters" in CARD.read_text()


def test_the_card_has_every_language_and_its_recipe() -> None:
    assert set(measured()) == set(LANGUAGES)
    text = CARD.read_text()
    assert re.search(r"python scripts/build_demo_model.py --steps \d+ --minutes \S+ --seed \d+ --threads \d+", text)
    assert re.search(r"first [1-9]\d* problems", text)


def test_english_is_ahead_in_the_card() -> None:
    accuracy = {code: one for code, (_, one) in measured().items()}
    loss = {code: one for code, (one, _) in measured().items()}
    assert accuracy["en"] >= 0.9
    assert min(accuracy.values()) < accuracy["en"] - 0.3
    assert max(loss.values()) > 2 * loss["en"]


def last_lines(model: Any, tokenizer: Any, prompts: list[str]) -> list[str]:
    """The last line of each greedy answer."""
    given = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        written = model.generate(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], max_new_tokens=100, do_sample=False
        )
    texts = tokenizer.batch_decode(written[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip().rsplit("\n", 1)[-1] for text in texts]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread: so small a model gains little from two, and on a busy machine they mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_what_the_card_says_is_so(model: Any, tokenizer: Any) -> None:
    """English is answered about as well as measured, the weakest language clearly less, on problems of another seed."""
    card = measured()
    weakest = min(card, key=lambda code: card[code][1])
    right = {}
    for code in ("en", weakest):
        records = generate([code], 24, "test", seed=1)
        said = last_lines(model, tokenizer, [f"{record.prompt}\n" for record in records])
        expected = [record.answer.split("\n")[-1] for record in records]
        right[code] = sum(one == other for one, other in zip(said, expected, strict=True)) / len(records)
    assert right["en"] > right[weakest] + 0.25
    assert right["en"] > card["en"][1] - 0.25
