"""What tests of all parts share: a small tokenizer, a small model, and the folder that both are saved in."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SENTENCES = (
    "Anna has 12 apples and buys 7 more. How many apples does she have now?",
    "The house is green, the street is long, and the children are asleep.",
    "Anna hat 12 Äpfel und kauft 7 dazu. Wie viele Äpfel hat sie jetzt?",
    "小明有12个苹果，又买了7个。他现在有多少个苹果？",
    "Аня купила 7 яблок. Сколько яблок у неё теперь?",
    "Juma ana matofaa 12 na ananunua mengine 7. Sasa ana matofaa mangapi?",
)


# Files whose tests take longest. They are begun first, so that at the end no process is left alone with one.
LONGEST = (
    "test_killed_runs.py",
    "test_two_ranks.py",
    "test_studies.py",
    "test_stages.py",
    "test_sharded_ranks.py",
    "test_fuzz.py",
    "test_stopping.py",
    "test_page.py",
    "test_paper.py",
    "test_census.py",
    "test_before.py",
    "test_simulated_intervals.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 340 tokens, BOS put in front by its post-processor, EOS never added by itself."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<bos>", "<eos>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", backend.token_to_id("<bos>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", model_max_length=2048
    )


@pytest.fixture(scope="session")
def session_llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """What `tiny_llama` is a copy of; never changed."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,  # at the usual 0.02 a random model hardly reacts to its input
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture
def tiny_llama(session_llama: LlamaForCausalLM) -> LlamaForCausalLM:
    """A Llama of 2 layers, width 32, 48 neurons a layer, random weights, evaluation mode: each test's own copy."""
    return copy.deepcopy(session_llama)


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory, session_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> Path:
    """A folder with `tiny_llama` (safetensors) and `tokenizer`, as `from_pretrained` and `model.source` take it."""
    folder = tmp_path_factory.mktemp("models") / "tiny_llama"
    session_llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
