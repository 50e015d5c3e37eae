"""Latency of large requests, one after the other on one connection: `python -m benchmarks.load.sequential`.

REST: a blocking socket and a buffer made beforehand. gRPC: serialized messages. So what the client adds is
the kernel's copies and, for gRPC, its C core.
"""

import json
import re
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.load.builtin import Exchange, from_json, to_json
from benchmarks.load.exchange import GrpcExchange, LoadError, RestExchange, bytes_call, bytes_channel
from benchmarks.processes import run

WARM_UP_REQUESTS = 3
_TIMEOUT_SECONDS = 30
_LIMIT_SECONDS = 300
_MAX_HEAD_BYTES = 16_384
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def median_ms(exchange: Exchange, requests: int) -> float:
    """Median time of a request, in a process of its own. Raises LoadError if an answer is wrong."""
    job = json.dumps({"exchange": to_json(exchange), "requests": requests})
    seen = json.loads(run([sys.executable, "-m", __name__], _LIMIT_SECONDS, job))
    if not seen["right"]:
        raise LoadError("an answer was wrong")
    return float(seen["p50_ms"])


def measure(exchange: Exchange, requests: int) -> dict[str, object]:
    """Send `requests` requests after a few to warm up; the median, and whether all answers were right."""
    times: list[int] = []
    right = True
    opened = _rest(exchange) if isinstance(exchange, RestExchange) else _grpc(exchange)
    with opened as ask:
        for _ in range(WARM_UP_REQUESTS + requests):
            start_ns = time.perf_counter_ns()
            answer = ask()
            times.append(time.perf_counter_ns() - start_ns)
            right &= answer == exchange.answer
    return {"p50_ms": statistics.median(times[WARM_UP_REQUESTS:]) / 1e6, "right": right}


@contextmanager
def _grpc(exchange: GrpcExchange) -> Iterator[Callable[[], bytes]]:
    with bytes_channel(exchange.target) as channel:
        call = bytes_call(channel)
        yield lambda: call(exchange.message, timeout=_TIMEOUT_SECONDS)


@contextmanager
def _rest(exchange: RestExchange) -> Iterator[Callable[[], memoryview]]:
    wire = exchange.wire
    buffer = bytearray(_MAX_HEAD_BYTES + len(exchange.answer))
    with socket.create_connection(exchange.address, _TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> memoryview:
            connection.sendall(wire)
            return _read_body(connection, memoryview(buffer))

        yield ask


def _read_body(connection: socket.socket, buffer: memoryview) -> memoryview:
    """Read one answer into `buffer`; the part of it that is the body."""
    filled, head_length, total = 0, 0, _MAX_HEAD_BYTES
    while filled < total:
        received = connection.recv_into(buffer[filled:])
        if not received:
            raise LoadError("the server closed the connection")
        filled += received
        if not head_length:
            head, separator, _ = bytes(buffer[: min(filled, _MAX_HEAD_BYTES)]).partition(b"\r\n\r\n")
            length = _CONTENT_LENGTH.search(head + b"\r\n")
            if separator and length:
                head_length = len(head) + len(separator)
                total = head_length + int(length[1])
    return buffer[head_length:total]


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    print(json.dumps(measure(from_json(job["exchange"]), job["requests"])))


if __name__ == "__main__":
    main()
