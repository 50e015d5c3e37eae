"""The time of a call holds for all of its answer: also for a head that comes in many pieces, each of them soon enough.

httpx gives each piece the whole time. So what it reads from sockets is asked here how much of the call's is left.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from kserve_v2.client.deadline import Deadline


class Patience(threading.local):
    """Of the call that a thread is making."""

    deadline: Deadline | None = None

    @contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        """The deadline of what is read meanwhile."""
        before, self.deadline = self.deadline, deadline
        try:
            yield
        finally:
            self.deadline = before

    def left_s(self, timeout_s: float | None) -> float | None:
        """How long a read may take that might take so long by itself. Raises DeadlineExceededError."""
        return timeout_s if self.deadline is None else self.deadline.wait_s()

    def watch(self, client: httpx.Client) -> None:
        """Hold for all connections of a client, those by way of proxies included.

        httpx has no public way to the sockets. If it has none of these attributes any more, each piece of a head has
        the whole time again.
        """
        for transport in (client._transport, *client._mounts.values()):
            pool = getattr(transport, "_pool", None)
            backend = getattr(pool, "_network_backend", None)
            if backend is not None:
                pool._network_backend = _Backend(backend, self)  # type: ignore[union-attr]


class _Backend:
    """Whoever makes connections; see `httpcore.NetworkBackend`."""

    def __init__(self, backend: Any, patience: Patience) -> None:
        self._backend = backend
        self._patience = patience

    def connect_tcp(self, *arguments: Any, **options: Any) -> "_Stream":
        return _Stream(self._backend.connect_tcp(*arguments, **options), self._patience)

    def connect_unix_socket(self, *arguments: Any, **options: Any) -> "_Stream":
        return _Stream(self._backend.connect_unix_socket(*arguments, **options), self._patience)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream:
    """A connection; see `httpcore.NetworkStream`."""

    def __init__(self, stream: Any, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._stream.read(max_bytes, self._patience.left_s(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def start_tls(self, *arguments: Any, **options: Any) -> "_Stream":
        return _Stream(self._stream.start_tls(*arguments, **options), self._patience)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
