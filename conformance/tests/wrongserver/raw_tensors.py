"""Tensors as bytes, for both front ends of the deliberately wrong server."""

from typing import Any

import numpy as np
from wrongserver.engine import DTYPES, Engine
from wrongserver.requests import Output, Pretended


def encode_bytes(output: Output) -> bytes:
    """The bytes of a tensor."""
    if output.datatype == "BYTES":
        return b"".join(len(each).to_bytes(4, "little") + each for each in output.values.ravel())
    return bytes(np.ascontiguousarray(output.values).astype(DTYPES[output.datatype]).tobytes())


def decode_bytes(engine: Engine, name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> Any:
    """The values of a tensor's bytes."""
    count = int(np.prod([int(size) for size in shape], dtype=object))
    if datatype == "BYTES":
        elements: list[bytes] = []
        while data:
            length = int.from_bytes(data[:4], "little")
            if len(data) < 4 + length:
                engine.refuse("binary-size", f"an element of input '{name}' is cut off")
            elements.append(data[4 : 4 + length])
            data = data[4 + length :]
        values = np.empty(len(elements), np.object_)
        values[:] = elements
    else:
        if len(data) % DTYPES[datatype].itemsize:
            engine.refuse("binary-size", f"input '{name}' has {len(data)} bytes")
        values = np.frombuffer(data, DTYPES[datatype])
    check_count(engine, name, len(values), count, "binary-size")
    return values


def check_count(engine: Engine, name: str, got: int, expected: int, also: str) -> None:
    if got != expected:
        if f"unchecked:{also}" in engine.defects:
            raise Pretended(also)
        engine.refuse(
            "too-few" if got < expected else "too-many",
            f"input '{name}' has {got} elements, expected {expected}",
        )


def check_shape(engine: Engine, name: str, shape: tuple[int, ...]) -> None:
    """Dimensions that can be."""
    if any(size < 0 for size in shape):
        engine.refuse("negative-dimension", f"input '{name}' has a negative dimension")
    if any(size > 2**40 for size in shape) or np.prod([float(size) for size in shape]) > 2**40:
        engine.refuse("enormous-shape", f"input '{name}' is too large")
