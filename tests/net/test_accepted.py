"""Connections that somebody else has accepted."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from kserve_v2.net.accepted import serve_accepted
from kserve_v2.net.tls import TlsFiles, server_context


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def __init__(self) -> None:
        self.on_lost: Any = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """A client, and what was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    client.settimeout(60)
    accepted.setblocking(False)
    return client, accepted


async def talk() -> None:
    client, accepted = tcp_pair()
    lost = asyncio.Event()
    made: list[Echo] = []

    def make() -> Echo:
        made.append(Echo())
        return made[-1]

    await serve_accepted(accepted, make, None, lost.set)
    # Small answers are not held back, as on connections that a listening transport has accepted.
    connection = made[0].transport.get_extra_info("socket")
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client.sendall(b"hello")
    assert await asyncio.to_thread(client.recv, 100) == b"hello"
    assert not lost.is_set()
    client.close()
    await lost.wait()


def test_it_is_served_and_its_end_is_told() -> None:
    run(talk())


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, trustme.CA]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(paths[0])
    certificate.private_key_pem.write_to_path(paths[1])
    return server_context(TlsFiles(*paths), ()), authority


async def talk_by_tls(context: ssl.SSLContext, authority: trustme.CA) -> None:
    client, accepted = tcp_pair()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def ask() -> bytes:
        with trusting.wrap_socket(client, server_hostname="localhost") as wrapped:
            wrapped.sendall(b"hello")
            return wrapped.recv(100)

    lost = asyncio.Event()
    answer = asyncio.get_running_loop().run_in_executor(None, ask)
    await serve_accepted(accepted, Echo, context, lost.set)
    assert await answer == b"hello"
    await lost.wait()


def test_over_tls(tls: tuple[ssl.SSLContext, trustme.CA]) -> None:
    run(talk_by_tls(*tls))


async def no_tls(context: ssl.SSLContext, words: bytes) -> None:
    client, accepted = tcp_pair()
    ends: list[None] = []
    client.sendall(words)
    client.shutdown(socket.SHUT_WR)
    await serve_accepted(accepted, Echo, context, lambda: ends.append(None))
    # Told once, though nothing has begun.
    assert len(ends) == 1
    try:
        while await asyncio.to_thread(client.recv, 100):
            pass
    except ConnectionResetError:
        pass
    client.close()


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_keep_to_tls_is_let_go(tls: tuple[ssl.SSLContext, trustme.CA], words: bytes) -> None:
    run(no_tls(tls[0], words))
