"""An ONNX file without the numbers of its weights, which are passed over and not read.

The file is read and not mapped: whoever overwrites it meanwhile makes this load fail, and not the server.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError

from .protobuf import encode_varint, varint

# What a tensor has more than this of is passed over.
_MAX_BYTES = 8192

_GRAPH, _INITIALIZER = 7, 5

Copy = Callable[[BufferedReader, int], bytes]


@contextmanager
def skeleton(file: Path) -> Iterator[bytes]:
    """The model without the data of large initializers. Raises InvalidArgumentError if the file is empty, and where it
    is found, here or by the caller, to be no protobuf.
    """
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise InvalidArgumentError(f"{file.name} is empty")
        try:
            yield _message(stream, size, {_GRAPH: _graph})
        except (IndexError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"{file.name} is no valid ONNX file") from error


def _graph(stream: BufferedReader, length: int) -> bytes:
    return _message(stream, length, {_INITIALIZER: _tensor})


def _tensor(stream: BufferedReader, length: int) -> bytes:
    return _take(stream, length) if length <= _MAX_BYTES else _message(stream, length, {}, _take_short)


def _message(
    stream: BufferedReader, length: int, special: Mapping[int, Copy], copy: Copy | None = None
) -> bytes:
    """A message with each length-delimited field as `special` has it by number, or else `copy`."""
    parts: list[bytes] = []
    end = stream.tell() + length
    while stream.tell() < end:
        tag = _varint(stream)
        parts.append(encode_varint(tag))
        match tag & 7:
            case 0:
                parts.append(encode_varint(_varint(stream)))
            case 1:
                parts.append(_take(stream, 8))
            case 2:
                size = _varint(stream)
                if size > end - stream.tell():
                    raise IndexError("a field is longer than its message")
                content = special.get(tag >> 3, copy or _take)(stream, size)
                parts += [encode_varint(len(content)), content]
            case 5:
                parts.append(_take(stream, 4))
            case _:
                raise IndexError("unknown wire type")
    if stream.tell() > end:
        raise IndexError("a field is longer than its message")
    return b"".join(parts)


def _take(stream: BufferedReader, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise IndexError("the file ends too early")
    return content


def _take_short(stream: BufferedReader, length: int) -> bytes:
    """Nothing of what is large."""
    if length <= _MAX_BYTES:
        return _take(stream, length)
    stream.seek(length, os.SEEK_CUR)
    return b""


def _varint(stream: BufferedReader) -> int:
    encoded = _take(stream, 1)
    while encoded[-1] >= 0x80 and len(encoded) < 10:
        encoded += _take(stream, 1)
    return varint(encoded, 0)[0]
