"""Checksums of our own files: a byte that was flipped after a file was written is found when it is read.

A safetensors file carries two in its metadata, as hexadecimal digits of XXH3 (128 bits): ``header_checksum`` over the
other entries of the metadata and the name, type and shape of every tensor, so that a header is checked without reading
any tensor; and ``checksum`` over that and the bytes of all tensors. Files from before there were checksums have neither
and are read as they are. These find damage, not forgery: whoever can write the file can write its checksum.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem

HEADER, CONTENT = "header_checksum", "checksum"

# As safetensors names the types that our files hold.
_DTYPES = {
    "torch.bool": "BOOL",
    "torch.uint8": "U8",
    "torch.int8": "I8",
    "torch.uint16": "U16",
    "torch.int16": "I16",
    "torch.uint32": "U32",
    "torch.int32": "I32",
    "torch.int64": "I64",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.float32": "F32",
    "torch.float64": "F64",
}


def save_checked(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with its checksums, whole or not at all.

    Raises OSError when it cannot be written; nothing is left behind then.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    shapes = {name: (_DTYPES[str(tensor.dtype)], list(tensor.shape)) for name, tensor in whole.items()}
    header = _of_header(metadata, shapes)
    sealed = {**metadata, HEADER: header, CONTENT: _of_content(header, whole)}
    try:
        with whole_file(path) as partial:
            save_file(whole, partial, metadata=sealed)
            _in_order(partial)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(
            int(number[1]) if number else errno.EIO, f"it could not be written: {error}", str(path)
        ) from error


def _in_order(path: Path) -> None:
    """Sort the entries of the metadata, which safetensors writes in any order, so that the same is the same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        # As safetensors writes it: what is in another order is as long.
        written = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
        assert len(written) == size
        file.seek(8)
        file.write(written)


def check_header(path: Path, file: Any) -> None:
    """Refuse an open safetensors file whose header is not the one that was written, however large its tensors.

    Raises InputError, and SafetensorError as safetensors itself does.
    """
    metadata: dict[str, str] = file.metadata() or {}
    if HEADER not in metadata and CONTENT not in metadata:
        return
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    shapes = {name: (str(each.get_dtype()), list(each.get_shape())) for name, each in slices.items()}
    rest = {name: text for name, text in metadata.items() if name not in (HEADER, CONTENT)}
    if CONTENT not in metadata or metadata.get(HEADER) != _of_header(rest, shapes):
        raise damaged(path)


def read_checked(path: Path, file: Any) -> dict[str, Tensor]:
    """All tensors of an open safetensors file. Raises InputError where they are not those that were written."""
    check_header(path, file)
    metadata: dict[str, str] = file.metadata() or {}
    tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if CONTENT in metadata and metadata[CONTENT] != _of_content(metadata[HEADER], tensors):
        raise damaged(path)
    return tensors


def of_values(values: Any) -> str:
    """The checksum of plain containers, whatever the order of their keys."""
    return xxhash.xxh3_128_hexdigest(json.dumps(values, ensure_ascii=True, sort_keys=True).encode())


def damaged(path: Path, part: str = "") -> InputError:
    """The refusal of a file, or of a part of it such as `line 3`, that is not what was written."""
    fix = "Restore it from a copy, or make it again: a snapshot by counting, a set by identifying."
    where = f"{path}, {part}" if part else f"{path}"
    found = "its checksum does not fit: it was damaged after it was written"
    return InputError(Problem(where, found, "what alignlab wrote", fix))


def _of_header(metadata: Mapping[str, str], shapes: Mapping[str, tuple[str, list[int]]]) -> str:
    return of_values([dict(metadata), {name: list(shape) for name, shape in shapes.items()}])


def _of_content(header: str, tensors: Mapping[str, Tensor]) -> str:
    digest = xxhash.xxh3_128(header.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        # Flat first: a tensor without axes cannot be viewed as bytes. No copy is made of either.
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
