"""The same requests to a home, and to a worker that hands everything to it: the answers are the same, byte for byte."""

import re
import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.processes.conftest import Fronted
from tests.wire.casefiles import Entry, cases, grpc_case, rest_case
from tests.wire.servers import MAX_INPUT_BYTES
from tests.wire.target import GrpcAnswer, Target, read_answer

pytestmark = pytest.mark.slow

# What an error of a handler is found by in the log.
UNIQUE = re.compile(rb"request_id=[0-9a-f]{16}")

# Their answers depend on what was asked before, or on the clock.
STATEFUL = ("13_sequences", "15_response_cache", "17_statistics", "18_")


def entries(kind: str) -> list[tuple[str, Entry]]:
    return [
        (each.id, each.values[0])
        for each in cases(kind)
        if not each.id.startswith(STATEFUL) and "stat" not in each.id
    ]


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def raw_request(entry: Entry, *, last: bool) -> bytes:
    case = rest_case(entry)
    headers = {"Host": "x", **case.headers}
    if case.body is not None and "Content-Length" not in headers:
        headers["Content-Length"] = str(len(case.body))
    if last:
        headers["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{case.method} {case.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + (case.body or b"")


def whole_answer(url: str, request: bytes) -> bytes:
    """All that comes before the end, or if the connection goes on, the one answer."""
    with connect(url) as connection, connection.makefile("rb") as reader:
        connection.sendall(request)
        if b"\r\nConnection: close" in request:
            return UNIQUE.sub(b"", reader.read())
        return repr(read_answer(reader)).encode()


def test_rest(wire_front: Fronted) -> None:
    different = []
    for name, entry in entries("rest"):
        # A body that is refused while it comes is read to its end only on a connection that goes on.
        request = raw_request(entry, last=len(rest_case(entry).body or b"") < MAX_INPUT_BYTES)
        direct, forwarded = (
            whole_answer(url, request) for url in (wire_front.home_rest, wire_front.server.rest)
        )
        if direct != forwarded:
            different.append((name, direct[:500], forwarded[:500]))
    assert different == []


def test_rest_on_one_connection(wire_front: Fronted) -> None:
    """As clients have it: one request after the other, some of them for the second and third time."""
    different = []
    with (
        connect(wire_front.home_rest) as home,
        connect(wire_front.server.rest) as worker,
        home.makefile("rb") as home_reader,
        worker.makefile("rb") as worker_reader,
    ):
        for name, entry in [*entries("rest")[::3]] * 2:
            if not entry["send"].startswith("POST") or "Connection" in entry.get("headers", {}):
                continue
            request = raw_request(entry, last=False)
            for connection in (home, worker):
                connection.sendall(request)
            direct, forwarded = read_answer(home_reader), read_answer(worker_reader)
            if direct != forwarded:
                different.append((name, direct, forwarded))
            if "content-length" not in direct.headers:
                break
    assert different == []


def test_exchanges(wire_front: Fronted) -> None:
    """What is no usual request: pipelined, malformed, chunked ones."""
    different = []
    for name, entry in entries("exchange"):
        answers: list[Any] = []
        for url in (wire_front.home_rest, wire_front.server.rest):
            with connect(url) as connection, connection.makefile("rb") as reader:
                connection.sendall(entry["send"].encode("latin-1"))
                if entry["closed"]:
                    answers.append(reader.read())
                else:
                    answers.append(
                        [read_answer(reader, each.get("method", "GET")) for each in entry["answers"]]
                    )
        if answers[0] != answers[1]:
            different.append((name, *answers))
    assert different == []


def both(wire_front: Fronted, method: str, *arguments: Any) -> list[GrpcAnswer]:
    """What `Target.method` says of each."""
    found = []
    for address in (wire_front.home_grpc, wire_front.server.grpc):
        with Target(replace(wire_front.server, urls={**wire_front.server.urls, "gRPC": address})) as target:
            answer = getattr(target, method)(*arguments)
            found.append(replace(answer, details=UNIQUE.sub(b"", answer.details.encode()).decode()))
    return found


def test_grpc(wire_front: Fronted) -> None:
    different = []
    for name, entry in entries("grpc"):
        case = grpc_case(entry)
        direct, forwarded = both(wire_front, "call", case.method, case.requests[0], case.metadata)
        if direct != forwarded:
            different.append((name, direct, forwarded))
    assert different == []


def test_streams(wire_front: Fronted) -> None:
    different = []
    for name, entry in entries("stream"):
        case = grpc_case({**entry, "call": "ModelStreamInfer"})
        direct, forwarded = both(wire_front, "stream", case.requests, case.metadata)
        if direct != forwarded:
            different.append((name, direct, forwarded))
    assert different == []
