"""Sockets that servers listen on."""

import errno
import socket
import sys

BACKLOG = 2048
"""How many connections may wait to be accepted."""

ACCEPTED_PER_TURN = 16
"""How many connections are accepted in one turn of the event loop."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says that has no descriptor, or no memory, for a connection."""

EXHAUSTED_PAUSE_S = 1.0
"""How long no connection is taken after that: what waits to be taken stays readable."""


def bind(address: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet: clients are refused until the server starts. Raises
    OSError.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        raise OSError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    return bound


def listeners(bound: socket.socket) -> list[socket.socket]:
    """`bound` and duplicates of it, all to listen: as many connections are accepted in one turn of the event loop.

    libuv accepts one for each socket. While earlier clients keep the loop busy for some milliseconds in each of its
    turns, the last of many that come together would wait for all those before it.
    """
    return [bound, *(bound.dup() for _ in range(ACCEPTED_PER_TURN - 1))]


def end_stalled_connections(listening: socket.socket, max_stall_s: float) -> None:
    """Let the kernel end connections whose client takes nothing of what was sent for so long: TCP_USER_TIMEOUT, tcp(7).

    To be called before `listening` listens: its connections inherit this. Over TLS nobody else could end them: the
    event loop does not tell how much of an answer is still unread. Only Linux has it.
    """
    if sys.platform == "linux":
        milliseconds = min(round(max_stall_s * 1000), 2**31 - 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
