"""Encoder-decoders that translate: how they are loaded, and what they cost."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_outputs import BaseModelOutput

from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.load import ModelConfig, embedding_rows
from alignlab.models.modes import evaluating

# As transformers' configurations call how many positions a model has, those of one side with its name.
_POSITIONS = (
    "max_position_embeddings", "max_encoder_position_embeddings", "max_decoder_position_embeddings",
    "max_source_positions", "max_target_positions",
)  # fmt: skip


class TranslatorConfig(ModelConfig):
    """An encoder-decoder that transformers' AutoModelForSeq2SeqLM loads, and how."""

    kind: ClassVar[Any] = transformers.AutoModelForSeq2SeqLM

    def build_meta(self) -> nn.Module:
        """The model's outline.

        Raises UnsupportedModelError for what is no encoder-decoder, does not pad, or is a mixture of experts, and
        InputError for tokens that it does not have.
        """
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
        if getattr(config, "num_experts", None):
            found = (
                f"{self.source} ({type(config).__name__}) is a mixture of experts, which hold so many tokens of a batch"
            )
            expected = "a dense translation model, whose rewards do not depend on the batch"
            raise UnsupportedModelError.of(source, found, expected)
        model = super().build_meta()
        rows = embedding_rows(model)
        for name in ("pad_token_id", "decoder_start_token_id"):
            if not 0 <= getattr(config, name) < rows:
                found = (
                    f"the config.json of {self.source} has {name} {getattr(config, name)}, the model {rows} embeddings"
                )
                raise InputError.of(source, found, f"an id below {rows}", "Correct it there.")
        return model


def positions_of(model: nn.Module) -> int | None:
    """How many tokens both sides of the model can have; None where nothing tells a limit."""
    config: Any = model.config
    parts = [config, getattr(config, "encoder", None), getattr(config, "decoder", None)]
    told = [getattr(part, name, None) for part in parts for name in _POSITIONS]
    return min((number for number in told if isinstance(number, int)), default=None)


def translation_flops(model: nn.Module, encoded: int, decoded: int) -> tuple[int, int]:
    """FLOPs of a text of so many tokens through the encoder, and of one through the decoder that reads it.

    model: on the meta device. Matrix products alone are counted, as torch does. Raises RuntimeError where they cannot,
    and UnsupportedModelError for a model whose halves cannot be asked as those of translation models are.
    """
    ids = torch.zeros((1, encoded), dtype=torch.int64, device="meta")
    labels = torch.zeros((1, decoded), dtype=torch.int64, device="meta")
    try:
        with evaluating(model), FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
            hidden = model.get_encoder()(input_ids=ids).last_hidden_state  # type: ignore[operator]
            first = int(counter.get_total_flops())
            model(encoder_outputs=BaseModelOutput(last_hidden_state=hidden), labels=labels, use_cache=False)
            return first, int(counter.get_total_flops()) - first
    except (AttributeError, TypeError, ValueError) as error:
        found = f"{type(model).__name__} takes no encoded text with labels ({error})"
        raise UnsupportedModelError.of("model.source", found, "a dense translation model, such as NLLB's") from error
