"""RPCs on their way to another process: which, with what metadata."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_v2.processes.frames import Payload
from kserve_v2.rpc.calls import Metadata, Rpc, Streaming
from kserve_v2.rpc.status import StatusCode

# Place of the RPC in the table of both sides, size of the metadata.
_HEAD = struct.Struct("<BI")

# Size of a key and a value, and whether the value is text.
_ENTRY = struct.Struct("<II?")


PLAIN, ACCEPTED = 0, 1
"""What a message of a stream is: any, or one that the worker had read before it was told that the server ends."""


@dataclass(frozen=True, slots=True)
class Path:
    """An RPC as the other side knows it. `streams`: there may be more than one answer."""

    path: str
    streams: bool


def table(rpcs: Sequence[Rpc]) -> bytes:
    """What a worker has to know of the home's RPCs, in their order."""
    return "\n".join(f"{rpc.path} {int(isinstance(rpc, Streaming))}" for rpc in rpcs).encode()


def read_table(payload: Payload) -> list[Path]:
    """What that says."""
    entries = (line.split(" ") for line in bytes(payload).decode().split("\n"))
    return [Path(path, streams == "1") for path, streams in entries]


def call_head(place: int, metadata: Metadata) -> bytes:
    """What stands before the message of a call."""
    entries: list[bytes] = []
    for key, value in metadata:
        name = key.encode()
        data = value.encode() if isinstance(value, str) else value
        entries += (_ENTRY.pack(len(name), len(data), isinstance(value, str)), name, data)
    text = b"".join(entries)
    return _HEAD.pack(place, len(text)) + text


def read_call(payload: Payload) -> tuple[int, bytes, Payload]:
    """Place of the RPC, its metadata as they came, and the message."""
    place, size = _HEAD.unpack_from(payload)
    end = _HEAD.size + size
    return place, bytes(payload[_HEAD.size : end]), payload[end:]


def reason_bytes(code: int, details: str) -> bytes:
    """Why nobody waits for a call any more: the status that the client has got, or would have."""
    return bytes((code,)) + details.encode()


def read_reason(payload: Payload) -> tuple[int, str]:
    """What that says; that the client has left where nobody has said anything."""
    return (payload[0], bytes(payload[1:]).decode()) if payload else (StatusCode.CANCELLED, "the client left")


def read_metadata(text: bytes) -> Metadata:
    """Metadata as the RPC has them."""
    found: list[tuple[str, str | bytes]] = []
    start = 0
    while start < len(text):
        name_size, size, is_text = _ENTRY.unpack_from(text, start)
        start += _ENTRY.size
        middle, end = start + name_size, start + name_size + size
        value = text[middle:end]
        found.append((text[start:middle].decode(), value.decode() if is_text else value))
        start = end
    return tuple(found)
