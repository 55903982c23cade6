"""Where each tensor lies in a safetensors file, so that several processes can write their parts of one file.

The format: 8 bytes with the header's length, a JSON header of name -> dtype, shape and place, then the tensors in
row-major order without gaps (https://github.com/huggingface/safetensors#format). The library writes whole files from
one process's memory only; reading is left to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import xxhash

DTYPES = {
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


@dataclass(frozen=True)
class Layout:
    """The bytes in front of the tensors, and the byte of the file that each of them starts at."""

    header: bytes
    offsets: dict[str, int]


def layout(tensors: Mapping[str, torch.Tensor]) -> Layout:
    """The places of named tensors in one file: the widest dtypes first, so that all are aligned, then by name."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    entries, offsets, end = {}, {}, 0
    for name in names:
        tensor, start = tensors[name], end
        end += tensor.nbytes
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        offsets[name] = start
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    return Layout(header, {name: len(header) + start for name, start in offsets.items()})


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor in row-major order, in the CPU's memory; without a copy where they lie so already."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def tensor_hash(tensor: torch.Tensor) -> str:
    """xxh3-128 of those bytes."""
    return xxhash.xxh3_128_hexdigest(tensor_bytes(tensor))
