"""What is trained on, as options."""

from __future__ import annotations

from typing import Any

from alignlab.config import Options, option, section
from alignlab.data.encoding import Encoded, encode
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source, WordProblems
from alignlab.errors import InputError


class DataConfig(Options):
    """What is trained on, and in which portions."""

    root: str | None = option(None, "folder for use as ${data.root} in other keys")
    train: Source = section(WordProblems, "where the training records come from")
    prompts: Prompts = section(Prompts, "how a record becomes text")
    examples_per_step: int = option(
        32, "examples of an optimiser step, over ranks and accumulation", unit="examples", ge=1, le=1_000_000
    )
    max_length: int = option(512, "tokens at which an example is cut", unit="tokens", ge=2, le=10_000_000)
    workers: int = option(0, "processes that prepare batches", ge=0, le=1024)

    def encode(self, tokenizer: Any) -> Encoded:
        """Load and tokenise the training records; refuses where none is left."""
        records = self.train.load()
        encoded = encode(
            records, tokenizer, self.prompts, max_length=self.max_length, append_eos=True, needs_answer=True
        )
        if not encoded.documents:
            raise InputError.of(
                "data.train",
                f"of {len(records)} records none has an answer within {self.max_length} tokens",
                "one or more",
                "Raise data.max_length, or name the answers' column.",
            )
        return encoded
