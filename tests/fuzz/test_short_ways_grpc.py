"""What a call is answered does not depend on what has been sent before, on whichever connection.

Two servers get the same bytes: ours, which recognises header blocks, calls that come whole, and messages that resemble
earlier ones; and grpcio's, where each message is decoded by protobuf, because calls are logged.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import hpack
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.fuzz.grpc_scripts import TYPED, Asked, Script, frame, script
from tests.fuzz.short_ways import PING, write_identity
from tests.integration import handlers

SCRIPTS = 180
_BATCHES = 6

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _ACK = 1, 1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(_SETTINGS, 0, 0, b"") + frame(_SETTINGS, _ACK, 0, b"")


class Answer(NamedTuple):
    """How a call has ended. `reset`: the code of RST_STREAM if it was ended by that, otherwise -1."""

    status: str
    details: str
    body: bytes
    reset: int = -1


class Client:
    """One connection."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self.socket.makefile("rb")
        self._decoder = hpack.Decoder()
        self._bodies: dict[int, bytes] = {}
        self.answers: dict[int, Answer] = {}

    def read(self, count: int) -> dict[int, Answer]:
        """The answers to so many calls."""
        while len(self.answers) < count:
            self._take_frame()
        return self.answers

    def _take_frame(self) -> None:
        head = self._reader.read(9)
        kind, flags, stream_id = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = self._reader.read(int.from_bytes(head[:3], "big"))
        assert kind != _GOAWAY, payload
        if kind == _DATA:
            self._bodies[stream_id] = self._bodies.get(stream_id, b"") + payload
        elif kind == _HEADERS:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if flags & _END_STREAM:
                body = self._bodies.pop(stream_id, b"")
                self.answers[stream_id] = Answer(
                    fields.get("grpc-status", ""), fields.get("grpc-message", ""), body
                )
        elif kind == _RST_STREAM and stream_id not in self.answers:
            self.answers[stream_id] = Answer("", "", b"", int.from_bytes(payload, "big"))

    def close(self) -> None:
        """Leave."""
        self._reader.close()
        self.socket.close()


class Player:
    """Plays scripts on one server."""

    def __init__(self, server: RunningServer) -> None:
        self._address = server.grpc
        host, port = server.rest.removeprefix("http://").split(":")
        self._control = socket.create_connection((host, int(port)), timeout=60)

    def play(self, made: Script) -> dict[tuple[int, int], Answer]:
        """How each call has ended, by connection and stream."""
        with ExitStack() as stack:
            clients = {number: Client(self._address) for number in sorted({n for n, _ in made.steps})}
            for client in clients.values():
                stack.callback(client.close)
                client.socket.sendall(_PREFACE)
            for number, data in made.steps:
                clients[number].socket.sendall(data)
                self._wait()
            found = {}
            for number, client in clients.items():
                count = sum(connection == number for connection, _ in made.asked)
                found |= {(number, stream_id): answer for stream_id, answer in client.read(count).items()}
            return found

    def _wait(self) -> None:
        """Until the server has read what was sent before, if it reads both in one thread."""
        self._control.sendall(PING)
        answer = b""
        while not answer.endswith(b"}"):
            answer += self._control.recv(1000)

    def close(self) -> None:
        """Leave."""
        self._control.close()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("short-ways")
    write_identity(root / "now")
    for datatype in TYPED:
        write_identity(root / datatype.lower(), datatype)
    write_model(root, "two", handlers.TWO)
    return root


@pytest.fixture(scope="module")
def short(start_server: StartServer, repository: Path) -> Iterator[Player]:
    player = Player(start_server(repository))
    yield player
    player.close()


@pytest.fixture(scope="module")
def full(start_server: StartServer, repository: Path) -> Iterator[Player]:
    player = Player(start_server(repository, "--log-access=true"))
    yield player
    player.close()


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(_BATCHES))
def test_scripts(short: Player, full: Player, batch: int) -> None:
    for number in range(batch, SCRIPTS, _BATCHES):
        made = script(number)
        answers, expected = short.play(made), full.play(made)
        assert answers.keys() == expected.keys() == made.asked.keys()
        wrong = {each: (answers[each], expected[each]) for each in answers if answers[each] != expected[each]}
        assert wrong == {}, f"script {number}"
        for call, answer in answers.items():
            if made.asked[call].method != "ServerLive":
                _check_is_its_own(answer.body, made.asked[call])


def _check_is_its_own(body: bytes, asked: Asked) -> None:
    """All responses are to the request that protobuf reads."""
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        message, body = body[5:end], body[end:]
        if asked.method == "ModelInfer":
            response = pb.ModelInferResponse.FromString(message)
        else:
            found = pb.ModelStreamInferResponse.FromString(message)
            if found.error_message:
                continue
            response = found.infer_response
        request = pb.ModelInferRequest.FromString(asked.message)
        assert (response.id, response.model_name) == (request.id, request.model_name)
        if request.model_name != "two" and request.raw_input_contents:
            # As in Triton, what follows is of no interest.
            assert response.raw_output_contents == request.raw_input_contents[:1]
