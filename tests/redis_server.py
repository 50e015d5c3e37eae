"""A real Redis server, on a port of its own."""

import shutil
import signal
import socket
import subprocess
from types import TracebackType
from typing import Self

import pytest

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="needs redis-server: make test-services, or apt-get install redis-server",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class RedisServer:
    """One server process, which keeps nothing on disk."""

    def __init__(self, *flags: str) -> None:
        """`flags`: options of redis-server, with the port; without them it is any free one."""
        self.port = free_port()
        self._flags = flags or ("--port", str(self.port))
        self.start()

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *self._flags],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                return
        raise AssertionError("".join(lines))

    def suspend(self) -> None:
        """From now on it takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
