"""The same requests to a home and to a worker that has copies of its models: the answers are the same, byte for byte."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import grpc
import pytest

from tests.conftest import RunningServer
from tests.processes.test_same_answers import connect, entries, raw_request
from tests.wire.casefiles import grpc_case
from tests.wire.servers import HERE, MAX_INPUT_BYTES, make_repository, start
from tests.wire.target import RestAnswer, Target, read_answer

pytestmark = pytest.mark.slow

EVERYWHERE = 'parameters { key: "home" value { string_value: "replicated" } }'
# What is in one process whatever anybody says.
ALONE = re.compile("sequence_batching|decoupled|ensemble_scheduling|response_cache")
# An error names the line of the log that says more.
UNIQUE = re.compile(rb"request_id=\w+")
SLOW = re.compile("gated|delayed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("replicated")
    repository = make_repository(HERE / "models", root, identities=True)
    for config in repository.glob("*/config.pbtxt"):
        if not ALONE.search(text := config.read_text()):
            config.write_text(f"{text}\n{EVERYWHERE}\n")
    running = start(root, repository, f"--http-max-input-size={MAX_INPUT_BYTES}", "--processes=2")
    yield running
    assert running.stop() == 0, running.log


def successes(server: RunningServer) -> dict[str, int]:
    stats = server.get("/v2/models/stats").json()["model_stats"]
    return {each["name"]: each["inference_stats"]["success"]["count"] for each in stats}


class Pair:
    """Two connections, of which each process has one."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._stack = ExitStack()

    def __enter__(self) -> "Pair":
        # While one is open, the next one goes to the other process.
        self._connections = [self._stack.enter_context(connect(self._server.rest)) for _ in range(2)]
        self._readers = [self._stack.enter_context(each.makefile("rb")) for each in self._connections]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, request: bytes) -> list[RestAnswer]:
        for connection in self._connections:
            connection.sendall(request)
        answers = [read_answer(reader) for reader in self._readers]
        if any("content-length" not in each.headers for each in answers):
            # The server ends the connection.
            self._stack.close()
            self.__enter__()
        return [replace(each, body=UNIQUE.sub(b"", each.body)) for each in answers]


def test_rest(server: RunningServer) -> None:
    """Each request twice, as the second takes the short ways."""
    different = []
    with Pair(server) as pair:
        for name, entry in entries("rest"):
            if not entry["send"].startswith("POST") or "Connection" in entry.get("headers", {}):
                continue
            request = raw_request(entry, last=False)
            for _ in range(1 if SLOW.search(entry["send"]) else 2):
                answers = pair.ask(request)
                if answers[0] != answers[1]:
                    different.append((name, *answers))
    assert different == []


def test_sums(server: RunningServer) -> None:
    before = successes(server)["id_int32"]
    body = b'{"inputs": [{"name": "IN", "datatype": "INT32", "shape": [1], "data": [1]}]}'
    head = f"POST /v2/models/id_int32/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with Pair(server) as pair:
        for _ in range(20):
            assert [each.status for each in pair.ask(head.encode() + body)] == [200, 200]
    assert successes(server)["id_int32"] == before + 40


class Apart(Target):
    """With a gRPC connection of its own."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(server)
        self._channel = grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)])


def test_grpc(server: RunningServer) -> None:
    different = []
    with ExitStack() as stack:
        targets = [stack.enter_context(Apart(server)) for _ in range(2)]
        for name, entry in entries("grpc"):
            case = grpc_case(entry)
            for _ in range(1 if SLOW.search(str(case.requests[0])) else 2):
                answers = [each.call(case.method, case.requests[0], case.metadata) for each in targets]
                shown = [
                    replace(each, details=UNIQUE.sub(b"", each.details.encode()).decode()) for each in answers
                ]
                if shown[0] != shown[1]:
                    different.append((name, *shown))
    assert different == []
