"""Requests that are made up from a model's metadata, and values that are given for its inputs."""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kserve_v2.bench.document import Document, Tensor
from kserve_v2.bench.errors import BenchUsageError
from kserve_v2.bench.model_view import ModelView, TensorView
from kserve_v2.tensors.datatypes import BOOL, BYTES, Array
from kserve_v2.tensors.strings import flat_bytes

_TEXT_LENGTH = 16
_IMAGE_SIZE = 64
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", np.uint8)
_INTEGERS = 2
"""0 and 1: whatever they are the indices of, there are that many."""

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of requests. `shapes`: by input, without the batch dimension where the model has one.
    `values`: by input, as they are written.
    """

    batch: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


def check_wishes(view: ModelView, wishes: Wishes) -> None:
    """Raises BenchUsageError for what this model does not have."""
    names = [each.name for each in view.inputs]
    for option, given in (("--shape", wishes.shapes), ("value of an input", wishes.values)):
        unknown = next((name for name in given if name not in names), None)
        if unknown is not None:
            raise BenchUsageError(
                f"{option}: model '{view.name}' has no input '{unknown}', but {', '.join(names)}"
            )
    both = next((name for name in wishes.shapes if name in wishes.values), None)
    if both is not None:
        raise BenchUsageError(
            f"--shape {both}:... is for a made up input, and {both}=... says what is sent: give one"
        )
    if wishes.batch != 1 and not view.batches:
        raise BenchUsageError(
            f"--batch {wishes.batch}: the inputs of model '{view.name}' have no batch dimension (max_batch_size is 0)"
        )


def made_up(view: ModelView, wishes: Wishes, random: Random) -> Document:
    """One request: numbers from 0 to 1, integers 0 or 1, booleans, texts of 16 letters, images of noise; given values
    as they are. Raises BenchUsageError for what has to be said first.
    """
    return Document(tuple(_tensor(view, each, wishes, random) for each in view.inputs))


def _tensor(view: ModelView, wanted: TensorView, wishes: Wishes, random: Random) -> Tensor:
    if wanted.name in wishes.values:
        return Tensor(wanted.name, given_values(view, wanted, wishes))
    shape = shape_of(view, wanted, wishes)
    kind = view.contents.get(wanted.name)
    if wanted.datatype is BYTES and kind not in (None, "text", "image"):
        raise BenchUsageError(
            f"input '{wanted.name}' of model '{view.name}' takes {kind}, which cannot be made up: give --request FILE, "
            f"or a value, {wanted.name}=..."
        )
    if wanted.datatype is BYTES:
        make = _image if kind == "image" else _text
        count = int(np.prod(shape))
        return Tensor(wanted.name, flat_bytes([make(random) for _ in range(count)]).reshape(shape))
    return Tensor(wanted.name, _numbers(shape, wanted, random))


def shape_of(view: ModelView, wanted: TensorView, wishes: Wishes) -> tuple[int, ...]:
    """Of a made up input. Raises BenchUsageError where a dimension varies and nobody says how large it is to be."""
    dims = wanted.shape[1:] if view.batches else wanted.shape
    chosen = wishes.shapes.get(wanted.name)
    if chosen is None:
        chosen = view.warm_up.get(wanted.name, dims) if -1 in dims else dims
        if -1 in chosen:
            sizes = ",".join("8" if size == -1 else str(size) for size in dims)
            raise BenchUsageError(
                f"input '{wanted.name}' of model '{view.name}' has the shape {list(wanted.shape)}, which varies: say "
                f"how "
                f"large it is to be, as in --shape {wanted.name}:{sizes}"
            )
    elif len(chosen) != len(dims) or any(
        has not in (-1, size) for has, size in zip(dims, chosen, strict=True)
    ):
        batch = ", without the batch dimension, which is --batch" if view.batches else ""
        raise BenchUsageError(
            f"--shape {wanted.name}:{','.join(map(str, chosen))}: expected one like {list(dims)}{batch}"
        )
    return (wishes.batch, *chosen) if view.batches else tuple(chosen)


def given_values(view: ModelView, wanted: TensorView, wishes: Wishes) -> Array:
    """What is written for an input: JSON, a text, or `@FILE` (.npy is an array, any other one the bytes of one
    element). Raises BenchUsageError.
    """
    text = wishes.values[wanted.name]
    where = f"value of an input: {wanted.name}={text[:60]}"
    try:
        array = _read(Path(text[1:]), wanted) if text.startswith("@") else _written(text, wanted)
    except OSError as error:
        raise BenchUsageError(f"{where}: {error.strerror or error}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise BenchUsageError(f"{where}: no {wanted.datatype.name}: {error}") from None
    rank = len(wanted.shape)
    if array.ndim == 0 and rank:
        array = array.reshape([1] * (rank - 1 if view.batches else rank))
    if view.batches and array.ndim == rank - 1:
        array = np.repeat(array[None], wishes.batch, axis=0)
    fits = array.ndim == rank and all(
        has in (-1, size) for has, size in zip(wanted.shape, array.shape, strict=True)
    )
    if not fits:
        raise BenchUsageError(f"{where}: expected the shape {list(wanted.shape)}, got {list(array.shape)}")
    if view.batches and wishes.batch not in (1, len(array)):
        raise BenchUsageError(
            f"{where}: it has {len(array)} rows, and --batch says {wishes.batch}: leave one of them out"
        )
    return array


def _read(path: Path, wanted: TensorView) -> Array:
    if path.suffix != ".npy":
        if wanted.datatype is not BYTES:
            raise ValueError("only a .npy file holds numbers")
        return flat_bytes([path.read_bytes()]).reshape(())
    array: Array = np.load(path, allow_pickle=False)
    if wanted.datatype is BYTES:
        texts = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel().tolist()]
        return flat_bytes(texts).reshape(array.shape)
    return _cast(array, wanted)


def _written(text: str, wanted: TensorView) -> Array:
    try:
        value = json.loads(text)
    except ValueError:
        if wanted.datatype is not BYTES:
            raise
        value = text
    if wanted.datatype is BYTES:
        array = np.asarray(value, dtype=np.object_)
        return flat_bytes([str(each).encode() for each in array.ravel().tolist()]).reshape(array.shape)
    return _cast(np.asarray(value), wanted)


def _cast(array: Array, wanted: TensorView) -> Array:
    """To the input's datatype; numbers that it does not have are an error, not others."""
    with np.errstate(invalid="ignore"):
        cast: Array = array.astype(wanted.datatype.dtype)
    whole = wanted.datatype.dtype.kind in "iub"
    if whole and not np.array_equal(cast, array):
        raise ValueError(f"{array.dtype} values do not fit")
    return np.ascontiguousarray(cast)


def _numbers(shape: tuple[int, ...], wanted: TensorView, random: Random) -> Array:
    dtype = wanted.datatype.dtype
    if wanted.datatype is BOOL or dtype.kind in "iu":
        return random.integers(0, _INTEGERS, shape).astype(dtype)
    # bfloat16 is of no kind of numpy's own.
    return random.random(shape).astype(dtype)


def _text(random: Random) -> bytes:
    return random.choice(_LETTERS, _TEXT_LENGTH).tobytes()


_PNG = b"\x89PNG\r\n\x1a\n"


def _image(random: Random) -> bytes:
    """A PNG of coloured noise."""
    rows = random.integers(0, 256, (_IMAGE_SIZE, 1 + 3 * _IMAGE_SIZE)).astype(np.uint8)
    rows[:, 0] = 0  # each line is as it is, without a filter
    header = struct.pack(">IIBBBBB", _IMAGE_SIZE, _IMAGE_SIZE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return _PNG + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
