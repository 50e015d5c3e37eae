"""One end of the channel between the server and a model's process: whole messages over a stream socket.

A send blocks while the other side does not read. So two sides must not both send a lot at the same time and only then
read: either they take turns, as a request and its reply do, or each of them has a thread that reads all the time and
never waits for a send.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

from .messages import Array, ChannelClosed, Kind, Message, MessageError, ProtocolError

_HEAD = struct.Struct("<IIBQ")  # bytes of fields and descriptions, bytes of tensors, kind, number
_LENGTH = struct.Struct("<I")


class Channel:
    """Sends from any thread; one thread receives at a time."""

    @classmethod
    def pair(cls) -> tuple[socket.socket, socket.socket]:
        """The two ends of a new channel, neither of them inherited by a process unless it is told to."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = threading.Lock()
        self._received = bytearray()

    def send(
        self,
        kind: Kind,
        number: int = 0,
        fields: Mapping[str, Any] | None = None,
        groups: Sequence[Mapping[str, Array]] = (),
    ) -> None:
        """Send a message, all of it. Blocks while the other side does not read.

        Raises ChannelClosed, and MessageError for what cannot be sent: nothing has been sent then.
        """
        described: list[list[Any]] = []
        data = bytearray()
        for group in groups:
            tensors = []
            for name, array in group.items():
                encoded = _encode(name, array)
                data += bytes(-len(data) % 16)
                tensors.append([name, _dtype_name(array), list(array.shape), len(data), len(encoded)])
                data += encoded
            described.append(tensors)
        try:
            head = json.dumps([fields or {}, described]).encode("ascii")
        except (TypeError, ValueError) as error:
            raise MessageError(f"the fields of a message cannot be written as JSON: {error}") from error
        with self._sending:
            try:
                self._sock.sendall(_HEAD.pack(len(head), len(data), kind, number) + head + data)
            except OSError as error:
                raise ChannelClosed("the other side is gone") from error

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. Raises TimeoutError when none has come in `timeout` seconds, ChannelClosed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._read(_HEAD.size, deadline)
        head_size, data_size, kind, number = _HEAD.unpack_from(self._received)
        end = _HEAD.size + head_size
        self._read(end + data_size, deadline)
        try:
            fields, described = json.loads(self._received[_HEAD.size : end])
            data = self._received[end : end + data_size]
            groups = [{tensor[0]: _decode(data, *tensor[1:]) for tensor in tensors} for tensors in described]
            message = Message(Kind(kind), number, fields, groups)
        except (ValueError, TypeError, KeyError, struct.error) as error:
            raise ProtocolError(f"a malformed message: {error}") from error
        del self._received[: end + data_size]
        return message

    def _read(self, size: int, deadline: float | None) -> None:
        while len(self._received) < size:
            try:
                if deadline is not None:
                    poll = select.poll()
                    poll.register(self._sock, select.POLLIN)
                    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                        raise TimeoutError("no message in time")  # noqa: TRY301
                part = self._sock.recv(1 << 20)
            except TimeoutError:
                raise
            except (OSError, ValueError) as error:
                raise ChannelClosed("the channel is closed") from error
            if not part:
                raise ChannelClosed("the other side is gone")
            self._received += part

    def fileno(self) -> int:
        """The socket's descriptor; a message may have been read from it already, so `receive(0)` is who knows."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end; wakes whoever is blocked in `receive` or `send`, with ChannelClosed."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def _dtype_name(array: Array) -> str:
    return "object" if array.dtype == object else array.dtype.name


def _encode(name: str, array: Array) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    parts: list[bytes] = []
    for element in array.ravel():
        if not isinstance(element, bytes):
            raise MessageError(f"tensor '{name}' has an element of {type(element).__name__}, expected bytes")
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def _decode(data: bytearray, dtype: str, shape: list[int], offset: int, size: int) -> Array:
    if dtype != "object":
        return np.frombuffer(data, _dtype(dtype), int(np.prod(shape)), offset).reshape(shape)
    array = np.empty(shape, object)
    flat = array.reshape(-1)
    for index in range(flat.size):
        (length,) = _LENGTH.unpack_from(data, offset)
        flat[index] = bytes(data[offset + 4 : offset + 4 + length])
        offset += 4 + length
    return array


def _dtype(name: str) -> np.dtype[Any]:
    return (
        np.dtype("uint16")
        if name == "bfloat16" and bfloat16 is None
        else np.dtype(bfloat16 if name == "bfloat16" else name)
    )
