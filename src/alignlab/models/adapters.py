"""Models one after another: a base is loaded once, and the adapters on it are swapped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
from torch import nn
from transformers.utils.peft_utils import find_adapter_config_file

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.manifest import verify
from alignlab.models.load import ModelConfig, digest_of
from alignlab.models.options import DEMO, PrecisionName
from alignlab.models.precision import precision_of

_ADAPTER, _PICKLED = "adapter_model.safetensors", "adapter_model.bin"


@dataclass
class ModelLoader:
    """Loads models by their source, a folder or Hub id of a full model or of a PEFT adapter, one at a time.

    base: how models are loaded, and the model below every adapter; its source is ignored where `base_given` is false,
        for the one that each adapter names.
    precision: of the passes, as for `lightning.Trainer`.
    """

    base: ModelConfig
    base_given: bool
    precision: PrecisionName = "32-true"
    device: torch.device = torch.device("cpu")
    _source: str = ""  # what is loaded now, without its adapter
    _model: Any = None
    _digests: dict[str, str] = field(default_factory=dict)

    def below(self, source: str) -> ModelConfig:
        """The full model that `source` is, or that its adapter stands on. Raises InputError where it is neither."""
        adapter = adapter_config(source)
        if adapter is None:
            return self.base.model_copy(update={"source": source})
        try:
            content = json.loads(adapter.read_bytes())
        except (ValueError, RecursionError):
            content = None
        named = content.get("base_model_name_or_path") if isinstance(content, dict) else None
        if isinstance(named, str) and (inner := _in_its_run(adapter, named)) is not None:
            return self.base.model_copy(update={"source": str(inner), "revision": None})
        if self.base_given:
            return self.base
        if not isinstance(named, str) or not named:
            raise InputError.of(str(adapter), "it names no base model", "one", "Set model.source.")
        return self.base.model_copy(update={"source": named})

    def load(self, source: str) -> nn.Module:
        """The model in evaluation mode, converted to the precision, on the device. The one given before is changed."""
        refuse_any(folder_problems(source, deep=True))
        below = self.below(source)
        if isinstance(self._model, peft.PeftModel):
            self._model = self._model.unload()
        if self._source != below.source:
            self._model = None  # let go before the next is loaded
            self._model, self._source = below.build(), below.source
        model = self._model if adapter_config(source) is None else _with_adapter(self._model, source)
        self._model = precision_of(self.precision, self.device).convert_module(model).to(self.device).eval()
        return self._model  # type: ignore[no-any-return]

    def digest(self, source: str) -> str:
        """Changes with any weight: of the files of a folder, or the commit of a Hub id."""
        if source not in self._digests:
            below = self.below(source)
            below.check()
            content = digest_of(below.folder) if below.folder else f"{below.source}@{below.commit()}"
            parts = [content, below.dtype, below.attention, self.precision, *(["nf4"] if below.four_bit else [])]
            if adapter_config(source) is not None:
                parts.append(digest_of(Path(source).expanduser()))
            self._digests[source] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        return self._digests[source]


def folder_problems(source: str, *, deep: bool) -> list[Problem]:
    """What is wrong with the files of a folder: others than were written, or an adapter's without weights.

    deep: read all files of a checkpoint of ours for their checksums; else sizes alone are compared.
    """
    folder = Path(source).expanduser()
    if source == DEMO or not folder.is_dir():
        return []
    try:
        faults = verify(folder, deep=deep)
    except InputError as error:  # of its list of files
        return list(error.problems)
    if faults:
        return [Problem(str(folder), "; ".join(faults), "a checkpoint as it was written", "Restore it.")]
    if not (folder / "adapter_config.json").is_file() or (folder / _ADAPTER).is_file():
        return []
    pickled = (folder / _PICKLED).is_file()
    found = f"the adapter has no {_ADAPTER}{f', only {_PICKLED}' if pickled else ''}"
    fix = "Pickles can execute code and are not loaded; convert it with save_pretrained." if pickled else ""
    return [Problem(str(folder), found, "its weights as safetensors", fix)]


def adapter_config(source: str) -> Path | None:
    """The adapter_config.json of a PEFT adapter; None for what is none."""
    if source == DEMO:
        return None
    path = Path(source).expanduser()
    try:
        found = path / "adapter_config.json" if path.is_dir() else find_adapter_config_file(source)
    except OSError:  # no such repository, or no network: loading it says so
        return None
    return Path(found) if found and Path(found).is_file() else None


def _in_its_run(adapter: Path, named: str) -> Path | None:
    """The model below the adapter of a later stage, which lies in its run, wherever that has been moved to; else None.

    adapter: its adapter_config.json, in `checkpoints/step-*` of the run.  named: the folder that it names.
    """
    folder = Path(*Path(named).parts[-2:])
    run, checkpoints = adapter.absolute().parents[2:0:-1]
    inner = run / folder
    of_run = checkpoints.name == "checkpoints" and folder.parent.name in ("merged", "checkpoints")
    return inner if of_run and (inner / "config.json").is_file() else None


def _with_adapter(model: nn.Module, source: str) -> nn.Module:
    try:
        return peft.PeftModel.from_pretrained(  # type: ignore[no-any-return]
            model, str(Path(source).expanduser()), use_safetensors=True
        )
    except Exception as error:  # as in models.load: whatever its configuration leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found = f"the adapter {source} cannot be loaded ({reason})"
        raise InputError.of("models", found, "an adapter of the base model") from error
