"""Writing ``.safetensors`` files in one pass: hashed as they are written, no second copy in memory.

The format (huggingface.co/docs/safetensors): an 8-byte little-endian header length, a JSON
header padded with spaces to a multiple of 8, then the raw tensors without gaps. The library's
own ``save_file`` neither hashes nor syncs, and its ``save`` doubles the memory. Files are read
with the library.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_CHUNK = 4 << 20


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and SHA-256 (hex) of a file."""

    size: int
    sha256: str


def tensor_chunks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file of *tensors* (contiguous, on the CPU), piece by piece.

    Raises:
        ValueError: a tensor has a dtype the format does not know (complex, quantised).
    """
    # The widest types first, as the library does, so that every tensor is aligned.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"tensor {name} has type {tensor.dtype}, which cannot be stored")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for name in order:
        flat = tensors[name].detach().contiguous().reshape(-1).view(torch.uint8)
        yield flat.numpy().data


def write_hashed(path: Path, chunks: Iterable[bytes | memoryview]) -> FileDigest:
    """Write a new file, sync it to the disk, and return what it should hold."""
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), _CHUNK):
                piece = view[start : start + _CHUNK]
                digest.update(piece)
                file.write(piece)
            size += len(view)
        file.flush()
        os.fsync(file.fileno())
        # The read-back that follows shall see the disk, not our own pages.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return FileDigest(size, digest.hexdigest())


def digest_file(path: Path) -> FileDigest:
    """Read *path* and return its size and hash. Raises ``OSError``."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return FileDigest(size, digest.hexdigest())
