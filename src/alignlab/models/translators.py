"""Encoder-decoders that translate: how they are loaded, and what they cost."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_outputs import BaseModelOutput

from alignlab.errors import UnsupportedModelError
from alignlab.models.load import ModelConfig
from alignlab.models.modes import evaluating


class TranslatorConfig(ModelConfig):
    """An encoder-decoder that transformers' AutoModelForSeq2SeqLM loads, and how."""

    kind: ClassVar[Any] = transformers.AutoModelForSeq2SeqLM

    def build_meta(self) -> nn.Module:
        """The model's outline. Raises UnsupportedModelError for what is no encoder-decoder, or does not pad."""
        config = self.build_config()
        source = "model.source"
        if not getattr(config, "is_encoder_decoder", False):
            found = f"{self.source} ({type(config).__name__}) is no encoder-decoder"
            expected = "a translation model, such as facebook/nllb-200-distilled-600M"
            raise UnsupportedModelError.of(source, found, expected)
        lacking = [name for name in ("pad_token_id", "decoder_start_token_id") if getattr(config, name, None) is None]
        if lacking:
            found = f"the config.json of {self.source} has no {' and no '.join(lacking)}"
            raise UnsupportedModelError.of(source, found, "one, for what the decoder is given", "Add it there.")
        return super().build_meta()


def translation_flops(model: nn.Module, encoded: int, decoded: int) -> tuple[int, int]:
    """FLOPs of a text of so many tokens through the encoder, and of one through the decoder that reads it.

    model: on the meta device. Matrix products alone are counted, as torch does. Raises RuntimeError where they cannot.
    """
    ids = torch.zeros((1, encoded), dtype=torch.int64, device="meta")
    labels = torch.zeros((1, decoded), dtype=torch.int64, device="meta")
    with evaluating(model), FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        hidden = model.get_encoder()(input_ids=ids).last_hidden_state  # type: ignore[operator]
        first = int(counter.get_total_flops())
        model(encoder_outputs=BaseModelOutput(last_hidden_state=hidden), labels=labels, use_cache=False)
        return first, int(counter.get_total_flops()) - first
