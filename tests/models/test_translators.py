"""What translating costs, against the products of matrices written out, and what is no translation model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from alignlab.errors import UnsupportedModelError
from alignlab.models.translators import TranslatorConfig, translation_flops

D, F, L, V = 32, 48, 2, 60
CONFIG = transformers.M2M100Config(
    vocab_size=V, d_model=D, encoder_layers=L, decoder_layers=L, encoder_attention_heads=4, decoder_attention_heads=4,
    encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=64, pad_token_id=1, decoder_start_token_id=2,
)  # fmt: skip


@pytest.mark.parametrize(("read", "scored"), [(1, 1), (10, 7), (23, 40)])
def test_flops_are_those_of_the_products(read: int, scored: int) -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForSeq2SeqLM.from_config(CONFIG, attn_implementation="eager")
    feed = 2 * D * F
    encoder = L * (read * (4 * D * D + feed) + 2 * read * read * D)
    itself = scored * 4 * D * D + 2 * scored * scored * D
    across = scored * 2 * D * D + read * 2 * D * D + 2 * scored * read * D
    decoder = L * (itself + across + scored * feed) + scored * D * V
    assert translation_flops(model, read, scored) == (2 * encoder, 2 * decoder)
    assert model.training  # as it was


def test_a_decoder_and_a_model_that_does_not_pad_are_refused(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="is no encoder-decoder; expected a translation model"):
        TranslatorConfig(source=str(model_folder)).build_meta()
    config = transformers.M2M100Config(**{**CONFIG.to_dict(), "pad_token_id": None})
    config.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="has no pad_token_id; expected one, for what the decoder is given"):
        TranslatorConfig(source=str(tmp_path)).build_meta()
