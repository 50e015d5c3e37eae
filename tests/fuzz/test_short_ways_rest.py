"""What the fast lane answers is what would be answered without it, to the byte, whatever has been sent before and on
whichever connection.

Two servers get the same: one with everything that recognises what has come before, one that decodes each request anew.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.fuzz.rest_scripts import LAST, Request, Step, script
from tests.fuzz.short_ways import PING, write_identity
from tests.integration import handlers

SCRIPTS = 180
_BATCHES = 6


class Player:
    """Plays scripts on one server."""

    def __init__(self, server: RunningServer) -> None:
        host, port = server.rest.removeprefix("http://").split(":")
        self._address = host, int(port)
        self._control = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def play(self, steps: Sequence[Step]) -> list[bytes]:
        """All that is answered, for each connection. What is sent in two steps comes in two reads."""
        with ExitStack() as stack:
            connections = {
                number: stack.enter_context(self._connect()) for number in sorted({n for n, _ in steps})
            }
            for number, data in steps:
                _send(connections[number], data)
                self._wait()
            for connection in connections.values():
                _send(connection, LAST)
            return [_read_all(connection) for connection in connections.values()]

    def _wait(self) -> None:
        """Until the server has read what was sent before: it answers what was sent after that."""
        self._control.sendall(PING)
        answer = b""
        while not answer.endswith(b"}"):
            answer += self._control.recv(1000)

    def close(self) -> None:
        """Leave."""
        self._control.close()


def _send(connection: socket.socket, data: bytes) -> None:
    # If the server has hung up, what it had to say is still there.
    with suppress(ConnectionError):
        connection.sendall(data)


def _read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    except TimeoutError:
        received += b"<the server waits>"
    return received


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("short-ways")
    write_identity(root / "now")
    write_model(root, "two", handlers.TWO)
    return root


@pytest.fixture(scope="module")
def short(start_server: StartServer, repository: Path) -> Iterator[Player]:
    player = Player(start_server(repository, "--allow-grpc=false"))
    yield player
    player.close()


@pytest.fixture(scope="module")
def full(start_server: StartServer, repository: Path) -> Iterator[Player]:
    player = Player(start_server(repository, "--allow-grpc=false", "--http-fast-lane=false"))
    yield player
    player.close()


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(_BATCHES))
def test_scripts(short: Player, full: Player, batch: int) -> None:
    for number in range(batch, SCRIPTS, _BATCHES):
        steps = script(number)
        assert short.play(steps) == full.play(steps), f"script {number}"


# --- what went wrong once -----------------------------------------------------------------------------------------

DATA = b'{"inputs":[{"name":"IN","shape":[1,3],"datatype":"FP32","data":[%b]}]}'


def padded(body: bytes, **changes: Any) -> bytes:
    """A request whose head does not depend on its body."""
    return replace(Request(body.ljust(200)), **changes).encoded()


GOOD, OTHER = padded(DATA % b"1,2,3"), padded(DATA % b"7,8,9")
LARGE = Request(DATA % b"4,5,6", before=b"\r\n\r\n", length=1048576).encoded()
UTF_16 = Request((DATA % b"1,2,3").decode().encode("utf-16")).encoded()
TWICE = b'[%b],"data":[%b]'
ESCAPED = b'[%b],"d\\u0061ta":[%b]'


def of(keys: bytes, a: bytes, b: bytes) -> bytes:
    return padded((DATA % b"X").replace(b"[X]", keys % (a, b)))


ONCE: dict[str, list[Step]] = {
    "empty lines before a large request": [
        (0, LARGE),
        (1, b"\r\n\r\n" + GOOD),
        (0, b" " * (1048576 - len(DATA % b"4,5,6"))),
        (1, b"\r\n\r\n" + OTHER),
        (2, b"\r\n\r\n" + GOOD),
        (2, OTHER),
    ],
    "empty lines before a small request": [
        (n % 3, b"\r\n\r\n" + each) for n, each in enumerate([GOOD, OTHER] * 4)
    ],
    "data twice, first the same": [(0, of(TWICE, b"1,2,3", b"1,2,3"))] * 3
    + [(1, of(TWICE, b"9,9,9", b"1,2,3"))] * 2,
    "data twice": [(0, of(TWICE, b"1,2,3", b"4,5,6"))] * 3 + [(1, of(TWICE, b"9,9,9", b"4,5,6")), (1, GOOD)],
    "an escaped name": [(0, padded(DATA.replace(b'"data"', b'"d\\u0061ta"') % b"1,2,3"))] * 4 + [(1, GOOD)],
    "an escaped name behind the same data": [(0, of(ESCAPED, b"1,2,3", b"1,2,3"))] * 3
    + [(1, of(ESCAPED, b"9,9,9", b"1,2,3"))] * 2,
    "an escaped name before the same data": [(0, of(ESCAPED, b"1,2,3", b"1,2,3"))] * 3
    + [(1, of(ESCAPED, b"1,2,3", b"9,9,9"))] * 2,
    "inputs twice": [(0, padded((DATA % b"1,2,3")[:-1] + b"," + (DATA % b"1,2,3")[1:]))] * 4 + [(1, GOOD)],
    "UTF-16": [(0, UTF_16)] * 4 + [(1, GOOD)],
}


@pytest.mark.parametrize("name", ONCE)
def test_what_went_wrong_once(short: Player, full: Player, name: str) -> None:
    for _ in range(3):
        answers = short.play(ONCE[name])
        assert answers == full.play(ONCE[name])
        assert b"HTTP/1.1 500" not in b"".join(answers)


def test_the_last_data_counts(short: Player) -> None:
    for keys in (TWICE, ESCAPED):
        for _ in range(4):
            for last in (b"1.0,2.0,3.0", b"9.0,9.0,9.0"):
                (answer,) = short.play([(0, of(keys, b"1,2,3", last))])
                assert b'"data":[%b]' % last in answer


def test_other_encodings_are_the_client_s_mistake(short: Player) -> None:
    (answer,) = short.play([(0, UTF_16)])
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"looks like UTF-16" in answer
