"""The gRPC server on asyncio."""

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from kserve_v2.http2.frames import DEFAULT_WINDOW_BYTES
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.protocol import ALPN
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.net.accepted import serve_accepted
from kserve_v2.net.listening import Place, take_place
from kserve_v2.net.sockets import BACKLOG, listeners
from kserve_v2.rpc.calls import Rpc
from kserve_v2.rpc.options import MAX_CONCURRENT_STREAMS, MAX_METADATA_BYTES, GrpcOptions
from kserve_v2.rpc.transport.connection import GrpcConnection
from kserve_v2.rpc.transport.head import HeadReader
from kserve_v2.scheduling.slices import Slicer

# How long clients have to read the status of calls that are given up.
_LAST_WORDS_SECONDS = 1.0

# Where the budget of bytes in flight is small: this many streams with unread messages may fill it.
_WINDOWS = 16


class AsyncioServer:
    """A server of all RPCs. Made, started and stopped on one event loop."""

    def __init__(
        self,
        rpcs: Sequence[Rpc],
        options: GrpcOptions,
        tls: ssl.SSLContext | None = None,
        inflight: InflightBytes | None = None,
        slicer: Slicer | None = None,
    ) -> None:
        """`options` hold for every connection. `tls`: None for cleartext; the context's ALPN is set here. `inflight`:
        what the requests of the whole server may hold together; None for any amount. `slicer`: that of the event loop;
        None where nobody else has one.
        """
        self.options = options
        self.slicer = slicer or Slicer()
        self.inflight = inflight or InflightBytes(sys.maxsize)
        limits = Http2Limits()
        window = limits.stream_window_bytes
        self.limits = replace(
            limits,
            stream_window_bytes=max(min(window, self.inflight.limit // _WINDOWS), DEFAULT_WINDOW_BYTES),
            max_concurrent_streams=MAX_CONCURRENT_STREAMS,
            max_header_list_bytes=MAX_METADATA_BYTES,
            max_stall_s=options.max_stall_s,
        )
        by_path = {rpc.path.encode(): rpc for rpc in rpcs}
        self.heads = HeadReader(by_path, MAX_METADATA_BYTES, options.response_compression)
        self._tls = tls
        if tls is not None:
            tls.set_alpn_protocols([ALPN])
        self.place: Place | None = None
        self._servers: list[asyncio.Server] = []
        self._connections: set[GrpcConnection] = set()
        self._closed = asyncio.Event()

    def bind(self, address: str, port: int) -> int:
        """Bind before `start`; returns the port, which is chosen for 0, or 0 for a Unix socket. Raises OSError where
        that is not possible.
        """
        self.place = take_place(address, port, self.options.max_stall_s)
        return self.place.port

    async def start(self, *, listen: bool = True) -> None:
        """Accept connections. `listen`: False if somebody else does."""
        if not listen:
            return
        loop = asyncio.get_running_loop()
        assert self.place is not None  # noqa: S101 - after `bind`
        for each in listeners(self.place.socket):
            server = await loop.create_server(self._connection, sock=each, backlog=BACKLOG, ssl=self._tls)
            self._servers.append(server)

    async def serve(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        """Serve a connection that was accepted elsewhere; see `serve_accepted`."""
        await serve_accepted(connection, self._connection, self._tls, on_lost)

    def _connection(self) -> GrpcConnection:
        return GrpcConnection(self, asyncio.get_running_loop())

    def opened(self, connection: GrpcConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: GrpcConnection) -> None:
        self._connections.discard(connection)
        self._closed.set()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give those under way `grace_seconds` to finish, then cancel them."""
        for server in self._servers:
            server.close()
        if self.place is not None:
            self.place.close()
        for connection in list(self._connections):
            connection.drain()
        if not await self._all_closed(grace_seconds):
            for connection in list(self._connections):
                connection.abandon()
            if not await self._all_closed(_LAST_WORDS_SECONDS):
                for connection in list(self._connections):
                    connection.transport.abort()

    async def _all_closed(self, seconds: float) -> bool:
        """Wait until there are no connections, for so long at most."""
        try:
            async with asyncio.timeout(seconds):
                while self._connections:
                    await self._closed.wait()
                    self._closed.clear()
        except TimeoutError:
            return False
        return True
