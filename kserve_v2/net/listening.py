"""Where a server listens: a port of an address, or a Unix socket."""

import socket
from dataclasses import dataclass

from kserve_v2.net.sockets import bind, end_stalled_connections
from kserve_v2.net.unix_socket import PREFIX, UnixPath, unix_path

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Place:
    """A place that is taken, by a socket that does not listen yet: clients are refused until the server starts.

    `port`: 0 for a Unix socket. `path`: what that has, and None for a port.
    """

    socket: socket.socket
    port: int
    path: UnixPath | None = None

    def close(self) -> None:
        """Give it up."""
        self.socket.close()
        if self.path is not None:
            self.path.release()


def take_place(address: str, port: int, max_stall_s: float | None = None) -> Place:
    """Take a port, any free one for 0, or a Unix socket, for which there are no ports. `max_stall_s`: see
    `end_stalled_connections`. Raises OSError.
    """
    path = unix_path(address)
    if path is not None:
        taken = UnixPath(path)
        return Place(taken.bind(), 0, taken)
    bound = bind(address, port)
    if max_stall_s is not None:
        end_stalled_connections(bound, max_stall_s)
    number: int = bound.getsockname()[1]
    return Place(bound, number)


def reachable(address: str, port: int) -> str:
    """How a client on this machine names the place: `HOST:PORT`, or `unix:PATH`."""
    path = unix_path(address)
    if path is not None:
        return f"{PREFIX}{path}"
    host = _LOOPBACK.get(address, address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
