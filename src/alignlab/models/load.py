"""Loading a model and its tokenizer, from a folder, the Hub or the package; nothing that is loaded can execute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers.quantizers import AutoHfQuantizer
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from alignlab.errors import InputError, Problem, UnsupportedModelError, did_you_mean, refuse_any, some_of
from alignlab.hub import hub_answers
from alignlab.models.distributed import local_rank
from alignlab.models.options import DEMO, ModelOptions

DEMO_FOLDER = Path(__file__).parents[1] / "assets" / "demo_model"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_MOST_LAYERS = 10_000
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class ModelConfig(ModelOptions):
    """Which model is fine-tuned, and how it is loaded.

    kind: which of its classes transformers takes.
    """

    kind: ClassVar[Any] = transformers.AutoModelForCausalLM

    def build(self) -> nn.Module:
        """The model in evaluation mode, with its weights (safetensors only)."""
        self.check()
        attention = {"attn_implementation": self.attention} if self.attention else {}
        quantised = {"quantization_config": _nf4(), "device_map": {"": local_rank()}} if self.four_bit else {}
        with _refusing(self.source):
            model, loaded = self.kind.from_pretrained(
                str(self._path),
                **self._from,
                **attention,
                **quantised,
                dtype=self.dtype,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by name
            )
        self._check_loaded(loaded)
        return model  # type: ignore[no-any-return]

    def build_meta(self) -> nn.Module:
        """The same model on the meta device: its shapes without weights; needs the configuration only."""
        config = self.build_config()
        dtype = getattr(torch, self.dtype) if self.dtype != "auto" else config.dtype or torch.float32
        with _refusing(self.source), torch.device("meta"):
            # Eager attention: the others look at the values of the mask, which the meta device has not.
            return self.kind.from_config(  # type: ignore[no-any-return]
                config, dtype=dtype, attn_implementation="eager", trust_remote_code=False
            )

    def build_config(self) -> Any:
        """The configuration, of a size that a model can have."""
        self._check_folder()
        with _refusing(self.source):
            config = transformers.AutoConfig.from_pretrained(str(self._path), **self._from)
            _check_quantiser(config)
        _check_layers(config, self.source)
        return config

    def build_tokenizer(self) -> Any:
        """The model's tokenizer."""
        self._check_folder()
        _check_tokenizer_file(self._path / "tokenizer.json")
        with _refusing(self.source):
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(self._path), **self._from)
            tokenizer("a 1 一")  # some settings are only looked at here
            return tokenizer

    @property
    def folder(self) -> Path | None:
        """Where the model lies; None for a Hub id."""
        return self._path if self._path.is_dir() else None

    def commit(self) -> str:
        """The commit of a Hub id."""
        with _refusing(self.source):
            read = self._from
            only = read["local_files_only"]
            file = cached_file(self.source, "config.json", revision=read["revision"], local_files_only=only)
            return str(extract_commit_hash(file, None))

    def fingerprint(self) -> str:
        """Changes with any weight: a digest of the files of a folder, or the commit of a Hub id."""
        return digest_of(self.folder) if self.folder else self.commit()

    def weights_at_hand(self) -> bool:
        """Whether a folder has its weights; true also for Hub ids, whose weights are fetched when needed."""
        return self.folder is None or any((self.folder / name).is_file() for name in _WEIGHTS)

    def check(self) -> None:
        """Refuse a source that is no model's, a folder without weights, or 4 bits where there are none, before anything
        is loaded.
        """
        self._check_folder()
        refuse_any(self.four_bit_problems())
        if not self.weights_at_hand():
            others = sorted(path.name for path in self._path.iterdir() if path.suffix in _PICKLES)
            raise InputError.of(
                "model.source",
                f"{self.source} holds no model.safetensors{', only ' if others else ''}{', '.join(others)}",
                "weights as safetensors",
                "Pickles can execute code and are not loaded; convert them with save_pretrained." if others else "",
            )
        index = self._path / _WEIGHTS[1]
        if index.is_file() and not (self._path / _WEIGHTS[0]).is_file():
            _check_index(index)

    def four_bit_problems(self) -> list[Problem]:
        """What is missing here to load the model in 4 bits, if that is asked for."""
        if not self.four_bit:
            return []
        lacking = [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]
        found = [f"{' and '.join(lacking)} not installed"] if lacking else []
        found += [] if torch.cuda.is_available() else ["there is no GPU"]
        fix = "Set model.four_bit=false, or pip install bitsandbytes accelerate on a machine with a GPU."
        where = "model.four_bit"
        return [Problem(where, f"true, but {' and '.join(found)}", "bitsandbytes and a GPU", fix)] if found else []

    @property
    def _path(self) -> Path:
        return DEMO_FOLDER if self.source == DEMO else Path(self.source).expanduser()

    @property
    def _from(self) -> dict[str, Any]:
        """How transformers is to read whatever it reads: from its cache alone where the Hub does not answer."""
        cached_only = self.folder is None and not hub_answers()
        return {"revision": self.revision or "main", "trust_remote_code": False, "local_files_only": cached_only}

    def _check_folder(self) -> None:
        """Say in our words what is missing, before transformers does in many."""
        path = self._path
        if self.source.startswith("builtin:") and self.source != DEMO:
            raise InputError.of(
                "model.source", self.source, f"{DEMO}, a model folder, or a Hub id", f"Did you mean {DEMO!r}?"
            )
        if not path.is_dir():
            if self.source.startswith(("/", ".", "~")) or self.source.count("/") > 1 or path.exists():
                if path.exists():
                    raise InputError.of("model.source", f"{self.source} is a file", "a model folder, or a Hub id")
                beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
                found = f"there is no folder {self.source}"
                raise InputError.of("model.source", found, "a model folder", did_you_mean(path.name, beside))
        elif not (path / "config.json").is_file():
            adapter = (path / "adapter_config.json").is_file()
            fix = "It is a PEFT adapter: give the folder of its base model." if adapter else ""
            raise InputError.of("model.source", f"{self.source} holds no config.json", "a model folder", fix)

    def _check_loaded(self, loaded: Any) -> None:
        """Refuse weights that transformers, with no more than a warning, would have left random."""
        missing, other = sorted(loaded["missing_keys"]), sorted(name for name, *_ in loaded["mismatched_keys"])
        faults = (
            (f"has no weights for {some_of(missing)}", missing, "all weights"),
            (f"has other shapes for {some_of(other)}", other, "those of its config.json"),
        )
        refuse_any(
            [Problem("model.source", f"{self.source} {found}", expected) for found, names, expected in faults if names]
        )


def _nf4() -> transformers.BitsAndBytesConfig:
    """As in QLoRA (Dettmers et al. 2023): NF4, its scales quantised too, computed with in bfloat16."""
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


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
        raise InputError.of("model.source", found, "a tokenizer", "Download or copy it again.") from error


def _check_index(path: Path) -> None:
    """Refuse an index of weights that names anything else than safetensors files in its folder."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        content = None
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        expected = "a JSON object with the file of each weight in weight_map"
        raise InputError.of(str(path), "it is no index of weights", expected, "Download or copy it again.")
    refuse_any(
        [
            Problem(str(path), f"it names {name!r}", "safetensors files in the model's folder")
            for name in sorted(set(files.values()))
            if Path(name).is_absolute() or ".." in Path(name).parts or not name.endswith(".safetensors")
        ]
    )


def _check_layers(config: Any, source: str) -> None:
    layers = getattr(config.get_text_config(), "num_hidden_layers", 1)
    if not 1 <= layers <= _MOST_LAYERS:
        raise InputError.of("model.source", f"{source} has {layers:,} layers", f"1 to {_MOST_LAYERS:,}")


def _check_quantiser(config: Any) -> None:
    """Refuse quantised weights of which the library is missing that reads them. Raises ImportError for that."""
    given = getattr(config, "quantization_config", None)
    if given is None:
        return
    try:
        quantiser = AutoHfQuantizer.from_config(given, pre_quantized=True)
        quantiser.validate_environment(dtype=None, device_map=None, weights_only=True)
    except RuntimeError:  # there is no GPU, which a plan does without
        return


@contextmanager
def _refusing(source: str) -> Iterator[None]:
    """Turn what transformers and the Hub raise for a bad source into one message.

    What a folder says is looked at where it is used, all over transformers and torch: any exception may come of it.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
        if not isinstance(error, OSError | ValueError | SafetensorError | ImportError):
            lines = [": ".join([type(error).__name__, *lines[:2]])]
        lines = lines or [type(error).__name__]
        text = " ".join(lines).lower()
        if "trust_remote_code" in text or "custom code" in text:
            own = f"{source} needs code of its own, which alignlab does not run"
            raise UnsupportedModelError.of("model.source", own, "a model that transformers knows") from error
        from_hub = source != DEMO and not Path(source).expanduser().is_dir()
        known = (
            (
                isinstance(error, SafetensorError),
                f"the weights of {source} are damaged ({lines[0]})",
                "Download or copy them again.",
            ),
            (
                "backend tokenizer" in text,
                f"{source} holds no tokenizer that can be read",
                "A tokenizer.json has to lie beside its config.json.",
            ),
            (
                from_hub and ("gated" in text or "401" in text),
                f"{source} is gated or private, or there is no such model",
                f"Accept its licence at https://huggingface.co/{source} and log in with: hf auth login.",
            ),
            (
                from_hub and ("connect" in text or "offline" in text),
                f"{source} is not here and the Hub cannot be reached",
                "Check the network, or download the model elsewhere and give its folder.",
            ),
            (True, f"{source} cannot be loaded ({lines[0]})", ""),
        )
        found, fix = next((found, fix) for applies, found, fix in known if applies)
        raise InputError.of("model.source", found, "a model folder or a Hub id", fix) from error


def embedding_rows(model: nn.Module) -> int:
    """Number of token ids that the model knows."""
    return int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]


def record_as(model: Any, other: nn.Module) -> None:
    """Let the identity of a model be that of another: the one that a run trains, of which its stages have made this."""
    model.recorded_as = identity(other)


def identity(model: Any) -> tuple[str, str]:
    """Name and revision of the model as transformers knows them, for the record; of the demo, its name here."""
    if (recorded := getattr(model, "recorded_as", None)) is not None:
        return recorded  # type: ignore[no-any-return]
    name = str(model.config.name_or_path)
    revision = getattr(model.config, "_commit_hash", None) or ""
    return DEMO if name == str(DEMO_FOLDER) else name, str(revision)
