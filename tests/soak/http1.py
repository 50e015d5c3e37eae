"""An HTTP/1.1 client that can be left at any point."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any


class Connection:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: str) -> "Connection":
        """Connect to `host:port`."""
        host, port = address.split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body of an answer that has a length."""
        status, headers = await self.head()
        return status, headers, await self._reader.readexactly(int(headers["content-length"]))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The server-sent events of a chunked answer whose head has been read. One chunk may hold several."""
        rest = b""
        while True:
            line = await self._reader.readline()
            if not line:
                raise asyncio.IncompleteReadError(b"", None)
            if not (size := int(line, 16)):
                break
            rest += (await self._reader.readexactly(size + 2))[:-2]
            *complete, rest = rest.split(b"\n\n")
            for event in complete:
                yield json.loads(event.removeprefix(b"data: "))
        await self._reader.readline()

    async def close(self) -> None:
        """Say goodbye: what was sent still arrives."""
        self._writer.close()
        await _closed(self._writer)

    async def abort(self) -> None:
        """Reset the connection: what was sent may be lost."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()
        await _closed(self._writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """One request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
