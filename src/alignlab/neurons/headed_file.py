"""Our files of tensors: safetensors with a checked header, written whole or not at all.

The header lies in the safetensors metadata, whose values are strings: ``format`` and ``format_version``, texts as they
are, and other values as JSON. The checksums are those of :mod:`alignlab.checksums`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alignlab.checksums import check_header, save_checked
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import reading
from alignlab.redaction import hide

VERSION = "1"


@dataclass(frozen=True)
class HeadedFormat:
    """A format of files.

    name, what, writer: its name in the header, what its files hold and what writes them, as messages say it.
    texts: keys of the header that are texts.
    values: keys that are JSON, with the type of the value, and that type in words.
    tensors: those that every file has.
    defaults: values that files written before there was such a key do not have.
    """

    name: str
    what: str
    writer: str
    texts: tuple[str, ...]
    values: Mapping[str, tuple[Any, str]]
    tensors: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path, tensors: Mapping[str, Tensor], source: object) -> None:
        """Write tensors with the header that the attributes of `source` make; secrets in its texts are hidden.

        Raises OSError when it cannot be written; what was at `path` is then untouched.
        """
        metadata = {"format": self.name, "format_version": VERSION}
        metadata |= {key: hide(getattr(source, key)) for key in self.texts}
        # Values within values may be dataclasses.
        metadata |= {key: json.dumps(getattr(source, key), ensure_ascii=False, default=asdict) for key in self.values}
        save_checked(path, tensors, metadata)

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The open file and its header, by key.

        Raises InputError when the file is missing, truncated, of another format or version, or when its header is not
        the one that was written. Of the tensors only the names are looked at.
        """
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(Problem(f"{path}", "it is no file", f"a whole file of {self.what}"))
        with (
            reading(path, "safetensors", f"a whole file of {self.what}", (SafetensorError, OSError)),
            safe_open(path, framework="pt") as file,
        ):
            yield file, self._header(path, file)

    def _header(self, path: Path, file: Any) -> dict[str, Any]:
        metadata: dict[str, str] = file.metadata() or {}
        name, version = metadata.get("format"), metadata.get("format_version")
        if name != self.name:
            expected = f"{self.name!r}, as written by {self.writer}"
            raise InputError(Problem(f"{path}", f"its header has the format {name!r}", expected))
        if version != VERSION:
            fix = "Read it with the alignlab that wrote it."
            raise InputError(Problem(f"{path}", f"format version {version!r}", f"version {VERSION!r}", fix))
        check_header(path, file)
        keys, tensors = (*self.texts, *self.values), set(file.keys())
        missing = [key for key in keys if key not in metadata and key not in self.defaults]
        problems = [Problem(f"{path}", f"its header has no {key!r}") for key in missing]
        problems += [Problem(f"{path}", f"it has no tensor {name!r}") for name in self.tensors if name not in tensors]
        header: dict[str, Any] = {**self.defaults} | {key: metadata[key] for key in self.texts if key in metadata}
        for key, (kind, expected) in self.values.items():
            if key not in metadata:
                continue
            try:
                header[key] = TypeAdapter(kind).validate_json(metadata[key], strict=True)
            except ValidationError:
                problems.append(Problem(f"{path}", f"{key} {metadata[key]!r} in its header", expected))
        refuse_any(problems)
        return header


@contextmanager
def contents_of(path: Path) -> Iterator[None]:
    """Refusals of what a file holds name the file."""
    try:
        yield
    except InputError as error:
        raise InputError(*(replace(problem, where=f"{path}, {problem.where}") for problem in error.problems)) from None
