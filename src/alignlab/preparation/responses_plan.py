"""What will be asked of which model, known before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab import console
from alignlab.begun_folder import Start
from alignlab.config import to_yaml
from alignlab.data.encoding import check_padding, check_vocabulary
from alignlab.environment import environment
from alignlab.errors import InputError
from alignlab.models.adapters import ModelLoader
from alignlab.models.distributed import local_rank, world_size
from alignlab.models.load import ModelConfig, embedding_rows
from alignlab.preparation.options import ResponsesOptions
from alignlab.preparation.questions import Questions, batches_fingerprint, load_questions
from alignlab.preparation.responses_folder import ResponsesFolder
from alignlab.recording.generation import check_positions, generator_of
from alignlab.redaction import hide_all


@dataclass
class ResponsesPlan:
    """Questions, batches and the model's outline, each made once, when it is first asked for."""

    options: ResponsesOptions

    @cached_property
    def folder(self) -> ResponsesFolder:
        return ResponsesFolder(Path(self.options.folder).expanduser())

    @cached_property
    def loader(self) -> ModelLoader:
        device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        return ModelLoader(ModelConfig.of(self.options.model), False, self.options.precision, device)

    @cached_property
    def base(self) -> ModelConfig:
        """The model without its adapter."""
        return self.loader.below(self.options.model.source)

    @cached_property
    def tokenizer(self) -> Any:
        return self.base.build_tokenizer()

    @cached_property
    def questions(self) -> Questions:
        return load_questions(self.options, self.tokenizer)

    @cached_property
    def batches(self) -> list[list[int]]:
        """The numbers of the answers of each batch."""
        padded = self.options.precision != "64-true" and next(self._outline.parameters()).dtype != torch.float64
        return self.questions.batches(self.options.max_new_tokens, self.options.max_tokens_per_batch, padded=padded)

    @cached_property
    def _outline(self) -> nn.Module:
        return self.base.build_meta()

    @property
    def document(self) -> str:
        """The config as YAML, without secrets; whether it was a dry run is no part of it."""
        return to_yaml(self.options.model_copy(update={"dry_run": False}), hide_all)

    def check(self) -> None:
        """Refuse what cannot be answered, before any weight is loaded. Raises `InputError`."""
        options = self.options
        if options.temperature == 0 and options.samples > 1:
            found, fix = f"0, and samples is {options.samples}", "Set samples=1, or a temperature over 0."
            raise InputError.of("temperature", found, "one answer: the likeliest is always the same", fix)
        prompts = self.questions.prompts
        check_vocabulary(prompts, embedding_rows(self._outline))
        check_padding(self.tokenizer.pad_token_id, embedding_rows(self._outline))
        generator_of(self._outline, "model.source", "")
        longest = max(map(len, prompts))
        fix = "Set a smaller max_new_tokens or max_prompt_tokens."
        check_positions(self._outline, longest, options.max_new_tokens, "max_new_tokens", fix)

    def made_from(self) -> dict[str, Any]:
        """Fingerprints of questions, weights and batches, beside versions and the machine."""
        hidden: dict[str, Any] = hide_all(
            {
                **environment(),
                "questions_fingerprint": self.questions.fingerprint,
                "model_fingerprint": self.loader.digest(self.options.model.source),
                "batches_fingerprint": batches_fingerprint(self.batches),
            }
        )
        return hidden

    def show(self, start: Start) -> None:
        """Print it."""
        options, questions = self.options, self.questions
        answers = len(questions.records) * options.samples
        tokens = [len(prompt) for prompt in questions.prompts]
        how = "the likeliest" if options.temperature == 0 else f"drawn at temperature {options.temperature:g}"
        how += f", top_p {options.top_p:g}" if options.top_p < 1 else ""
        rows = [
            ("model", f"{options.model.source}; {options.precision} on {self.loader.device}"),
            (
                "questions",
                f"{len(tokens):,} in {' '.join(questions.languages)}, of {min(tokens)} to {max(tokens)} tokens",
            ),
        ]
        if left_out := [f"{number:,} in {code}" for code, number in questions.left_out.items() if number]:
            rows.append(("left out", f"longer than {options.max_prompt_tokens} tokens: {', '.join(left_out)}"))
        if without := sum(not record.answer for record in questions.records):
            rows.append(("no answer", f"{without:,} questions, of which nobody can tell what is right"))
        most = answers * options.max_new_tokens
        rows.append(("answers", f"{answers:,}: {options.samples} to each, {how}; at most {most:,} tokens"))
        done = 0
        if start == "continue":
            done = sum(self.folder.parts.part(batch).is_file() for batch in range(len(self.batches)))
        going_on = f", {done:,} of them done" if done else ""
        rows.append(("batches", f"{len(self.batches):,}{going_on}; ranks {world_size()}"))
        rows.append(("folder", str(self.folder.path)))
        console.heading("Plan of the responses")
        console.table(rows)
