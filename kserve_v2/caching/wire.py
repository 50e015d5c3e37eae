"""Entries as bytes, for a cache in another process: a form of our own, that nothing has to be trusted to read.

    magic and version · BLAKE2b of all that follows · the key · length of the head · head · tensors

The head is JSON: names, datatypes, shapes and lengths of the tensors, and the parameters. Whatever is not exactly this
is no entry: cut off, changed, written by another version or another program, or put under another key.
"""

import hashlib
import json
import struct
from typing import Any

import numpy as np

from kserve_v2.caching.entry import Entry, ParameterValue, sized_entry
from kserve_v2.caching.key import KEY_BYTES
from kserve_v2.errors import ServingError
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BY_DTYPE, BY_NAME, BYTES, Array
from kserve_v2.tensors.strings import decode_bytes_tensor, encode_bytes_tensor

_MAGIC = b"kserve-v2 answer 1\n"
_SUM_BYTES = 16
_LENGTH = struct.Struct("<I")
_HEAD_START = len(_MAGIC) + _SUM_BYTES + KEY_BYTES + _LENGTH.size


def dump_entry(key: bytes, entry: Entry) -> bytes:
    """The entry of `key` as bytes."""
    contents = [_content(array) for array in entry.outputs.values()]
    outputs = [
        [name, BY_DTYPE[array.dtype].name, list(array.shape), len(content)]
        for (name, array), content in zip(entry.outputs.items(), contents, strict=True)
    ]
    head = json.dumps({"outputs": outputs, "parameters": dict(entry.parameters)}).encode()
    body = b"".join([key, _LENGTH.pack(len(head)), head, *contents])
    return _MAGIC + _sum(body) + body


def load_entry(key: bytes, data: bytes) -> Entry | None:
    """What `dump_entry` has made these bytes of, for this key; None if it has not."""
    view = memoryview(data)
    body = view[len(_MAGIC) + _SUM_BYTES :]
    if len(data) < _HEAD_START or not data.startswith(_MAGIC + _sum(body) + key):
        return None
    try:
        (length,) = _LENGTH.unpack_from(view, _HEAD_START - _LENGTH.size)
        head = json.loads(bytes(view[_HEAD_START : _HEAD_START + length]))
        outputs = _read_outputs(head["outputs"], view[_HEAD_START + length :])
        return sized_entry(outputs, _read_parameters(head["parameters"]))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, ServingError):
        return None


def _content(array: Array) -> bytes:
    if array.dtype.kind == "O":
        return encode_bytes_tensor(array.reshape(-1).tolist())
    return array.tobytes()


def _sum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_SUM_BYTES).digest()


def _read_outputs(rows: Any, contents: memoryview) -> dict[str, Array]:
    outputs: dict[str, Array] = {}
    start = 0
    for name, datatype_name, shape, length in rows:
        datatype = BY_NAME[datatype_name]
        content = contents[start : start + length]
        if (
            len(content) != length
            or type(name) is not str
            or any(type(dim) is not int or dim < 0 for dim in shape)
        ):
            raise ValueError(name)
        if datatype is BYTES:
            outputs[name] = decode_bytes_tensor(AnnouncedInput(name, datatype, shape, "", ""), content)
        else:
            # A copy, so that it lies as the datatype wants it, and owns its memory.
            outputs[name] = np.frombuffer(content, datatype.dtype).reshape(shape).copy()
        start += length
    if start != len(contents):
        raise ValueError("there is more")
    return outputs


def _read_parameters(values: Any) -> dict[str, ParameterValue]:
    if type(values) is not dict or not all(
        type(name) is str and isinstance(value, bool | int | float | str) for name, value in values.items()
    ):
        raise ValueError("no parameters")
    return dict(values)
