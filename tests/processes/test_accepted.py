"""What has come to a server, whole, before it was told to end is answered, whichever way it came and whichever process
has read it.
"""

import json
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.http2.frames import Kind
from tests.conftest import RunningServer, WriteModel, launch
from tests.integration import handlers
from tests.integration.support import Gate, Wire, metric, new_tag, pending, wait_until
from tests.processes.test_two_processes import REPLICATED, SINGLE, WHERE, alive, all_is_read, pids
from tests.rpc.test_wire import Wire as Http2
from tests.rpc.test_wire import frame, framed

pytestmark = pytest.mark.slow

Values = dict[str, tuple[str, list[int], list[int]]]
"""Inputs: datatype, shape and data by name."""

FRAME_BYTES = 16_384
PIECE_BYTES, PIECES = 55_000, 5
PADDING = 900_000
"""Of a message that fills more than one read of the home's, and no more than a stream's window."""

IN: Values = {"IN": ("INT32", [1], [3])}


def gated(port: int = 0) -> Values:
    """A request to the gated model."""
    return {"PORT": ("INT32", [1, 1], [port]), "TAG": ("INT64", [1, 1], [new_tag()])}


class Rest:
    """A connection over which requests go in one form. `answer`: status and body of the answer to the last one."""

    def __init__(self, server: RunningServer, path: str, body: Callable[[Values], Any]) -> None:
        self._wire = Wire(server)
        self.socket = self._wire.socket
        self._path = path
        self._body = body

    def request(self, model: str, values: Values) -> bytes:
        """A whole one."""
        body = json.dumps(self._body(values)).encode()
        head = f"POST {self._path.format(model)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def send(self, model: str, values: Values) -> None:
        self._wire.send(self.request(model, values))

    def answer(self) -> tuple[bool, str]:
        """Whether the answer is a good one, and what it says."""
        response = self._wire.response()
        text = response.text
        if response.headers.get("transfer-encoding") == "chunked":
            # To its last chunk.
            reader = self._wire._reader
            while size := int(reader.readline(), 16):
                text += reader.read(size).decode()
                reader.readline()
            reader.readline()
        return response.status_code == 200, text

    def close(self) -> None:
        self._wire.socket.close()


class Grpc:
    """The same of an RPC."""

    def __init__(self, server: RunningServer, method: str) -> None:
        place: Any = SimpleNamespace(address=server.grpc)
        self._wire = Http2(place)
        self.socket = self._wire.socket
        self._path = f"/inference.GRPCInferenceService/{method}".encode()
        self._streams = method == "ModelStreamInfer"
        self._number = -1

    def send(self, model: str, values: Values, padding: int = 0) -> None:
        self._number += 2
        self._send_parts(framed(self._message(model, values, padding)))

    def _message(self, model: str, values: Values, padding: int) -> bytes:
        message = pb.ModelInferRequest(model_name=model)
        message.parameters["padding"].string_param = padding * "x"
        for name, (datatype, shape, data) in values.items():
            message.inputs.add(name=name, datatype=datatype, shape=shape)
            kind = np.int64 if datatype == "INT64" else np.int32
            message.raw_input_contents.append(np.array(data, kind).tobytes())
        return message.SerializeToString()

    def _send_parts(self, data: bytes) -> None:
        parts = [data[at : at + FRAME_BYTES] for at in range(0, len(data), FRAME_BYTES)]
        between = b"".join(frame(Kind.DATA, self._number, part) for part in parts[:-1])
        self._wire.call(self._number, parts[-1], between=between, Ppath=self._path)

    def send_stream(self, model: str, values: Values, paddings: Sequence[int]) -> None:
        """As many messages in one stream."""
        self._number += 2
        messages = (framed(self._message(model, values, padding)) for padding in paddings)
        self._send_parts(b"".join(messages))

    def answers(self) -> int:
        """How many good answers the last stream has had."""
        data = self._wire.answer(self._number)["data"].encode("latin-1")
        count = 0
        while data:
            end = 5 + int.from_bytes(data[1:5], "big")
            answer = pb.ModelStreamInferResponse.FromString(data[5:end])
            assert not answer.error_message, answer
            count, data = count + 1, data[end:]
        return count

    def answer(self) -> tuple[bool, str]:
        found = self._wire.answer(self._number)
        data = found.get("data", "").encode("latin-1")[5:]
        if found.get("grpc-status") != "0" or not data:
            return False, str(found)
        if self._streams:
            streamed = pb.ModelStreamInferResponse.FromString(data)
            return not streamed.error_message, str(streamed)
        return True, str(pb.ModelInferResponse.FromString(data))

    def close(self) -> None:
        self._wire.socket.close()


def infer_body(values: Values) -> dict[str, Any]:
    """Of `infer`."""
    return {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": shape, "data": data}
            for name, (datatype, shape, data) in values.items()
        ]
    }


def generate_body(values: Values) -> dict[str, Any]:
    """Of `generate`."""
    return {name: data for name, (_, _, data) in values.items()}


def predict_body(values: Values) -> dict[str, Any]:
    """Of v1."""
    if any(len(shape) == 1 for _, shape, _ in values.values()):
        return {"inputs": {name: data for name, (_, _, data) in values.items()}}
    return {"instances": [{name: data for name, (_, _, data) in values.items()}]}


WAYS: dict[str, Callable[[RunningServer], Rest | Grpc]] = {
    "infer": lambda server: Rest(server, "/v2/models/{}/infer", infer_body),
    "generate": lambda server: Rest(server, "/v2/models/{}/generate", generate_body),
    "generate_stream": lambda server: Rest(server, "/v2/models/{}/generate_stream", generate_body),
    "predict": lambda server: Rest(server, "/v1/models/{}:predict", predict_body),
    "ModelInfer": lambda server: Grpc(server, "ModelInfer"),
    "ModelStreamInfer": lambda server: Grpc(server, "ModelStreamInfer"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "everywhere", WHERE, REPLICATED)
    write_model(root, "at_home", WHERE, SINGLE)
    write_model(root, "gated", handlers.GATED, SINGLE)
    return root


def connections(server: RunningServer) -> dict[tuple[str, str], float]:
    """How many there are, by process and protocol."""
    return {
        (process, protocol): metric(server, "kserve_v2_connections", process=process, protocol=protocol)
        for process in ("0", "1")
        for protocol in ("rest", "grpc")
    }


def workers_own(server: RunningServer, way: str, stack: ExitStack) -> Rest | Grpc:
    """A connection that the worker has."""
    while True:
        before = connections(server)
        opened = WAYS[way](server)
        stack.callback(opened.close)
        wait_until(lambda before=before: sum(connections(server).values()) > sum(before.values()))  # type: ignore[misc]
        now = connections(server)
        if any(now["1", protocol] > before["1", protocol] for protocol in ("rest", "grpc")):
            return opened


@pytest.mark.parametrize("flag", ["--http-fast-lane=true", "--http-fast-lane=false"])
def test_what_a_worker_has_read_is_answered_though_the_home_had_not_seen_it(
    tmp_path: Path, repository: Path, flag: str
) -> None:
    running = launch(tmp_path, repository, "--processes=2", flag)
    home, worker = pids(running)
    with Gate() as gate, ExitStack() as stack:
        # As long as this one is not answered, the server does not end.
        held = workers_own(running, "infer", stack)
        held.send("gated", gated(gate.port))
        gate.await_start()
        # What the home has to read first when it goes on: by then it has heard that it is to end.
        large = [workers_own(running, "ModelInfer", stack) for _ in range(4)]
        asked = {way: workers_own(running, way, stack) for way in WAYS}
        behind = workers_own(running, "ModelStreamInfer", stack)
        assert isinstance(behind, Grpc)
        begun, pieces = (workers_own(running, "generate", stack) for _ in range(2))
        assert isinstance(begun, Rest)
        assert isinstance(pieces, Rest)
        request = begun.request("at_home", IN)
        # There is room at the home for less than that: the end of it is still in the worker.
        padded = {**IN, "padding": ("BYTES", [1], PIECES * PIECE_BYTES * "x")}  # type: ignore[dict-item]
        in_pieces = pieces.request("at_home", padded)
        os.kill(home, signal.SIGSTOP)
        try:
            begun.socket.sendall(request[:-1])
            for each in large:
                assert isinstance(each, Grpc)
                each.send("at_home", IN, PADDING)
            wait_until(lambda: all(all_is_read(each.socket) for each in large))
            for at in range(0, len(in_pieces), PIECE_BYTES):
                pieces.socket.sendall(in_pieces[at : at + PIECE_BYTES])
                wait_until(lambda: all_is_read(pieces.socket))
            # Likewise, of a stream: there is room for its first message.
            behind.send_stream("at_home", IN, [PIECES * PIECE_BYTES, 0, 0])
            for each in asked.values():
                each.send("at_home", IN)
            wait_until(lambda: all(all_is_read(each.socket) for each in [begun, behind, *asked.values()]))
            os.kill(home, signal.SIGTERM)
        finally:
            os.kill(home, signal.SIGCONT)
        assert [each.answer()[0] for each in large] == [True] * len(large)
        answer = pieces.answer()
        assert answer[0], answer
        assert behind.answers() == 3
        answers = {way: each.answer() for way, each in asked.items()}
        assert {way: good for way, (good, _) in answers.items()} == dict.fromkeys(WAYS, True), answers
        # What is whole only now has come too late, as all that comes from now on.
        begun.socket.sendall(request[-1:])
        refused = begun.answer()
        assert (refused[0], "Server exiting" in refused[1]) == (False, True), refused
        for way, each in asked.items():
            each.send("at_home", IN)
            good, text = each.answer()
            assert (way, good, "Server exiting" in text) == (way, False, True), text
        gate.open()
        assert held.answer()[0]
        assert running.process.wait(60) == 0, running.log
    running.stop()
    assert not alive(worker)
    assert "Traceback" not in running.log


@pytest.mark.parametrize("processes", [1, 2])
def test_what_waits_for_its_model_is_answered(tmp_path: Path, repository: Path, processes: int) -> None:
    running = launch(tmp_path, repository, f"--processes={processes}")
    with Gate() as gate, ExitStack() as stack:
        first, *waiting = [
            workers_own(running, way, stack) if processes > 1 else own(running, way, stack)
            for way in ("infer", *WAYS)
        ]
        first.send("gated", gated(gate.port))
        gate.await_start()
        for each in waiting:
            each.send("gated", gated())
        wait_until(lambda: pending(running, "gated") == len(WAYS))
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: " in running.log)
        gate.open()
        assert [each.answer()[0] for each in (first, *waiting)] == [True] * (len(WAYS) + 1)
        assert running.process.wait(60) == 0, running.log
    running.stop()
    assert "Traceback" not in running.log


def own(server: RunningServer, way: str, stack: ExitStack) -> Rest | Grpc:
    """A connection to a server of one process."""
    opened = WAYS[way](server)
    stack.callback(opened.close)
    return opened
