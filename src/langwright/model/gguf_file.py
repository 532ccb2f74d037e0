"""Reading GGUF (version 2 and 3, little-endian): the header by our own walk, blocks by `gguf`.

The package's own reader takes seconds to walk a vocabulary; this one takes a tenth of one.
Layout: the specification in ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langwright.errors import BadInput, Damaged, NotFound, Unsupported
from langwright.model.blocks import BLOCK_BYTES, Blocks

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies. `shape` is in numpy's order (GGML writes it reversed)."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


class GGUFFile:
    """A GGUF file: `fields` (metadata) and tensors, read one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = np.memmap(path, mode="r", dtype=np.uint8)
        except FileNotFoundError:
            raise NotFound(f"There is no file {path}.", remedy="Check the path.") from None
        except ValueError:
            raise self._damaged("it is empty") from None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error}.", remedy="Check the path.") from None
        self._view = memoryview(data.data)
        self._at = 0
        try:
            self._read_header()
        except (struct.error, UnicodeDecodeError, OverflowError, KeyError) as error:
            raise self._damaged(f"the header breaks off or is not GGUF ({error})") from None

    def _read_header(self) -> None:
        if bytes(self._view[:4]) != b"GGUF":
            raise self._damaged("it does not begin with GGUF")
        self._at = 4
        version = self._scalar("I")
        if version not in (2, 3):
            raise Unsupported(
                f"{self.path} is GGUF version {version}.", remedy="Versions 2 and 3 are read."
            )
        num_tensors, num_fields = self._scalar("Q"), self._scalar("Q")
        self.fields: dict[str, Any] = {}
        for _ in range(self._count(num_fields, 13)):
            key = self._string()
            if key in self.fields:
                raise self._damaged(f"it has the field {key!r} twice")
            self.fields[key] = self._value(self._scalar("I"))
        infos = []
        for _ in range(self._count(num_tensors, 24)):
            name, dimensions = self._string(), self._scalar("I")
            if dimensions > _MAX_DIMENSIONS:
                raise self._damaged(f"tensor {name!r} has {dimensions} dimensions")
            shape = tuple(self._scalar("Q") for _ in range(dimensions))[::-1]
            infos.append(TensorInfo(name, shape, self._scalar("I"), self._scalar("Q")))
        alignment = self.fields.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1:
            raise self._damaged(f"its alignment is {alignment!r}")
        self._blocks_at = -(-self._at // alignment) * alignment
        self.tensors = {info.name: info for info in infos}
        if len(self.tensors) < len(infos):
            raise self._damaged("two of its tensors have the same name")

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def tensor(self, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The float32 values of one tensor, dequantised."""
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        blocks = self.blocks(name)
        if blocks is not None:
            return blocks.dequantised().numpy()
        info, raw = self.tensors[name], self._raw(name)
        kind = GGMLQuantizationType(info.type)
        if kind == GGMLQuantizationType.F32:
            return raw.view(np.float32).reshape(info.shape)
        if kind == GGMLQuantizationType.F16:
            return raw.view(np.float16).reshape(info.shape).astype(np.float32)
        try:
            # Scales of a damaged file overflow; the model's loader refuses what comes of it.
            with np.errstate(all="ignore"):
                values = dequantize(raw, kind)
        except NotImplementedError:
            raise Unsupported(
                f"Tensor '{name}' has the type {kind.name}, which is not read.",
                remedy="Use a file with a common quantisation (F16, Q8_0, Q4_K …).",
            ) from None
        return np.ascontiguousarray(values.reshape(info.shape), dtype=np.float32)

    def type_name(self, name: str) -> str:
        """What a tensor is stored in, such as Q4_0."""
        from gguf import GGMLQuantizationType

        try:
            return GGMLQuantizationType(self.tensors[name].type).name
        except ValueError:
            return f"type {self.tensors[name].type}"

    def blocks(self, name: str) -> Blocks | None:
        """A matrix as its blocks, where the file holds it so; otherwise None."""
        info = self.tensors[name]
        if info.type not in BLOCK_BYTES or len(info.shape) != 2:
            return None
        return Blocks(torch.from_numpy(self._raw(name)), info.type)

    def _raw(self, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bytes of a tensor, row by row. They are read, not mapped: what has been mapped would
        stay in memory beside the values that come of it."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        info = self.tensors[name]
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(info.type)]
        except ValueError:
            raise Unsupported(
                f"Tensor '{name}' has the unknown type {info.type}.",
                remedy="Use a file with a common quantisation (F16, Q8_0, Q4_K …).",
            ) from None
        row = info.shape[-1] if info.shape else 1
        size = math.prod(info.shape)
        start, num_bytes = self._blocks_at + info.offset, size // block * block_bytes
        if row % block or start + num_bytes > len(self._view):
            raise self._damaged(f"the bytes of tensor '{name}' are not all there")
        if not size:
            raise self._damaged(f"tensor '{name}' has the shape {list(info.shape)}")
        raw = np.fromfile(self.path, np.uint8, num_bytes, offset=start)
        return raw.reshape(*info.shape[:-1], row // block * block_bytes)

    def _scalar(self, code: str) -> Any:
        value = struct.unpack_from("<" + code, self._view, self._at)[0]
        self._at += struct.calcsize("<" + code)
        return value

    def _count(self, count: int, least_bytes: int) -> int:
        """A declared count, refused when the file could not hold so many: no memory is spent on
        the word of a hostile file."""
        if count * least_bytes > len(self._view) - self._at:
            raise self._damaged(f"it declares {count:,} entries, more than it can hold")
        return count

    def _string(self) -> str:
        length = self._count(self._scalar("Q"), 1)
        start, self._at = self._at, self._at + length
        return bytes(self._view[start : self._at]).decode("utf-8")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind])
        if depth > 2:
            raise self._damaged("its arrays are nested too deeply")
        inner, count = self._scalar("I"), self._scalar("Q")
        if inner in _SCALARS:
            code = _SCALARS[inner]
            self._count(count, struct.calcsize(code))
            values = struct.unpack_from(f"<{count}{code}", self._view, self._at)
            self._at += count * struct.calcsize("<" + code)
            return list(values)
        return [self._value(inner, depth + 1) for _ in range(self._count(count, 8))]

    def _damaged(self, why: str) -> Damaged:
        return Damaged(f"{self.path} cannot be read: {why}.", remedy="Fetch the file again.")
