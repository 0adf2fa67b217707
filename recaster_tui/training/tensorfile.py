"""The bytes of ``.safetensors`` files, in one pass and without a second copy in memory.

The format (huggingface.co/docs/safetensors): an 8-byte little-endian header length, a JSON
header padded with spaces to a multiple of 8, then the raw tensors without gaps. The library's
own ``save_file`` neither hashes nor syncs, and its ``save`` doubles the memory. Files are read
with the library.
"""

import json
import struct
from collections.abc import Iterator, Mapping

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
