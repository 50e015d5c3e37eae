"""What a request costs a load generator at the least: the kernel's work to write it to a socket over loopback, to wait,
and to read the answer. No generator that sends requests one by one on each connection can do with less CPU time.
"""

import resource
import select
import socket
import time

from benchmarks.load.exchange import RestExchange

_READ_BYTES = 65536
_WARM_UP_S = 0.5


def kernel_us(exchange: RestExchange, connections: int, seconds: float) -> float:
    """CPU time of the kernel per request, in microseconds, of a client that has one request under way on each of so
    many connections, and looks at no answer. Answers have to come in one piece.
    """
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    try:
        for _ in range(connections):
            made = socket.create_connection(exchange.address)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[made.fileno()] = made
            poll.register(made.fileno(), select.EPOLLIN)
            made.sendall(exchange.wire)
        _exchange(poll, sockets, exchange.wire, _WARM_UP_S)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_stime
        count = _exchange(poll, sockets, exchange.wire, seconds)
        return 1e6 * (resource.getrusage(resource.RUSAGE_SELF).ru_stime - before) / count
    finally:
        poll.close()
        for each in sockets.values():
            each.close()


def _exchange(poll: select.epoll, sockets: dict[int, socket.socket], request: bytes, seconds: float) -> int:
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for descriptor, _ in poll.poll():
            if not sockets[descriptor].recv(_READ_BYTES):
                raise ConnectionError("the process that answers has closed a connection")
            sockets[descriptor].sendall(request)
            count += 1
    return count
