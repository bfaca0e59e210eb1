"""Loading a model and its tokenizer, from a folder, the Hub or the package; nothing that is loaded can execute."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from alignlab.errors import InputError, Problem, UnsupportedModelError, did_you_mean
from alignlab.models.options import DEMO, ModelOptions

DEMO_FOLDER = Path(__file__).parents[1] / "assets" / "demo_model"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


class ModelConfig(ModelOptions):
    """Which model is fine-tuned, and how it is loaded."""

    def build(self) -> nn.Module:
        """The causal language model in evaluation mode, with its weights (safetensors only)."""
        self.check()
        options = {"dtype": self.dtype, "use_safetensors": True, **self._attention()}
        with _refusing(self.source):
            model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
                self._path(),
                revision=self._revision(),
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by name
                **options,
            )
        self._check_loaded(loaded)
        return model  # type: ignore[no-any-return]

    def build_meta(self) -> nn.Module:
        """The same model on the meta device: its shapes without weights; needs the configuration only."""
        self._check_folder(weights=False)
        with _refusing(self.source):
            config = transformers.AutoConfig.from_pretrained(
                self._path(), revision=self._revision(), trust_remote_code=False
            )
            dtype = getattr(torch, self.dtype) if self.dtype != "auto" else config.dtype or torch.float32
            with torch.device("meta"):
                # Eager attention: the others look at the values of the mask, which the meta device has not.
                return transformers.AutoModelForCausalLM.from_config(  # type: ignore[no-any-return]
                    config, dtype=dtype, attn_implementation="eager", trust_remote_code=False
                )

    def build_tokenizer(self) -> Any:
        """The model's tokenizer."""
        self._check_folder(weights=False)
        _check_tokenizer_file(Path(self._path()) / "tokenizer.json")
        with _refusing(self.source):
            return transformers.AutoTokenizer.from_pretrained(
                self._path(), revision=self._revision(), trust_remote_code=False
            )

    @property
    def folder(self) -> Path | None:
        """Where the model lies; None for a Hub id."""
        path = Path(self._path())
        return path if path.is_dir() else None

    def commit(self) -> str:
        """The commit of a Hub id."""
        with _refusing(self.source):
            return str(extract_commit_hash(cached_file(self.source, "config.json", revision=self._revision()), None))

    def fingerprint(self) -> str:
        """Changes with any weight: a digest of the files of a folder, or the commit of a Hub id."""
        return digest_of(self.folder) if self.folder else self.commit()

    def weights_at_hand(self) -> bool:
        """Whether a folder has its weights; true also for Hub ids, whose weights are fetched when needed."""
        path = Path(self._path())
        return not path.is_dir() or any((path / name).is_file() for name in _WEIGHTS)

    def _check_loaded(self, loaded: Any) -> None:
        """Refuse weights that transformers, with no more than a warning, would have left random."""
        problems = []
        if loaded["missing_keys"]:
            names = _some(loaded["missing_keys"])
            problems.append(Problem("model.source", f"{self.source} has no weights for {names}", "all weights"))
        if loaded["mismatched_keys"]:
            names = _some(name for name, *_ in loaded["mismatched_keys"])
            expected = "those of its config.json"
            problems.append(Problem("model.source", f"{self.source} has other shapes for {names}", expected))
        if problems:
            raise InputError(*problems)

    def _attention(self) -> dict[str, str]:
        return {"attn_implementation": self.attention} if self.attention else {}

    def _path(self) -> str:
        return str(DEMO_FOLDER if self.source == DEMO else Path(self.source).expanduser())

    def _revision(self) -> str:
        return self.revision or "main"

    def check(self) -> None:
        """Refuse a source that is no model's, or a folder without weights, before anything is loaded."""
        self._check_folder(weights=True)

    def _check_folder(self, *, weights: bool) -> None:
        """Say in our words what is missing, before transformers does in many."""
        path = Path(self._path())
        looks_local = self.source.startswith(("/", ".", "~")) or self.source.count("/") > 1
        if not path.is_dir():
            if looks_local or path.exists():
                near = (
                    did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()])
                    if path.parent.is_dir()
                    else ""
                )
                raise InputError(Problem("model.source", f"there is no folder {self.source}", "a model folder", near))
            return
        if not (path / "config.json").is_file():
            fix = (
                "It is a PEFT adapter: give the folder of its base model."
                if (path / "adapter_config.json").is_file()
                else ""
            )
            raise InputError(Problem("model.source", f"{self.source} holds no config.json", "a model folder", fix))
        if weights and not self.weights_at_hand():
            others = sorted(entry.name for entry in path.iterdir() if entry.suffix in {".bin", ".pt", ".pth", ".ckpt"})
            found = f"{self.source} holds no model.safetensors" + (f", only {', '.join(others)}" if others else "")
            fix = "Pickles can execute code and are not loaded; convert them with save_pretrained." if others else ""
            raise InputError(Problem("model.source", found, "weights as safetensors", fix))


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that a model, or an adapter, is loaded from."""
    digest = hashlib.sha256()
    names = ("config.json", "adapter_config.json")
    for file in sorted(path for path in folder.iterdir() if path.suffix == ".safetensors" or path.name in names):
        digest.update(file.name.encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _check_tokenizer_file(path: Path) -> None:
    """Refuse a damaged tokenizer.json, on which transformers fails in ways of its own for each kind of damage."""
    if not path.is_file():
        return
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more special
        found = f"{path} cannot be read ({error})"
        raise InputError(Problem("model.source", found, "a tokenizer", "Download or copy it again.")) from error


@contextmanager
def _refusing(source: str) -> Iterator[None]:
    """Turn what transformers and the Hub raise for a bad source into one message."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
        text = " ".join(lines).lower()
        fix = ""
        local = Path(source).expanduser().is_dir() or source == DEMO
        if isinstance(error, SafetensorError):
            found = f"the weights of {source} are damaged ({lines[0]})"
            fix = "Download or copy them again."
        elif "backend tokenizer" in text:
            found = f"{source} holds no tokenizer that can be read"
            fix = "A tokenizer.json has to lie beside its config.json."
        elif not local and ("gated" in text or "401" in text):
            found = f"{source} is gated or private, or there is no such model"
            fix = f"Accept its licence at https://huggingface.co/{source} and log in with: hf auth login."
        elif "trust_remote_code" in text or "custom code" in text:
            found = f"{source} needs code of its own, which alignlab does not run"
            raise UnsupportedModelError(Problem("model.source", found, "a model that transformers knows")) from error
        elif not local and ("connect" in text or "offline" in text):
            found = f"{source} is not here and the Hub cannot be reached"
            fix = "Check the network, or download the model elsewhere and give its folder."
        else:
            found = f"{source} cannot be loaded ({lines[0]})"
        raise InputError(Problem("model.source", found, "a model folder or a Hub id", fix)) from error


def _some(names: Iterable[str]) -> str:
    """The first three names, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return f"{', '.join(ordered[:3])}{more}"


def embedding_rows(model: nn.Module) -> int:
    """Number of token ids that the model knows."""
    return int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]


def identity(model: nn.Module) -> tuple[str, str]:
    """Name and revision of the model as transformers knows them, for the record."""
    config = model.config
    return str(config.name_or_path), str(getattr(config, "_commit_hash", None) or "")  # type: ignore[union-attr]
