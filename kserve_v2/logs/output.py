"""Where log lines go, without ever waiting for it: whoever logs may be the event loop, and nobody may read.

A line is written at once if there is room for it. What there is no room for waits, in order, for a thread that knows
when there is some; beyond a bound lines are dropped, and their number is said as soon as something can be said again.

A pipe, a terminal or a socket is never waited for. A regular file is written to as it is: it takes what it is given, or
says that it cannot.
"""

import contextlib
import os
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TextIO

_MAX_LINES = 10_000
_MAX_BYTES = 4 * 1024 * 1024

# As much as is written at once where only `poll` says that there is room: it means at least so much (PIPE_BUF).
_POLLED_BYTES = 512

_THREAD_NAME = "log-output"


class _Target(Protocol):
    """Something to write to."""

    def send(self, data: bytes) -> int:
        """Write as much as there is room for now, and return how much that was. Raises OSError."""
        ...

    def wait(self, seconds: float | None) -> None:
        """Wait until there may be room, so long at most."""
        ...

    def close(self) -> None:
        """Nothing more is written."""
        ...


class _Stream:
    """A stream without a file descriptor, as tests have it, or where there is no `poll`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, data: bytes) -> int:
        self._stream.write(data.decode(errors="replace"))
        self._stream.flush()
        return len(data)

    def wait(self, seconds: float | None) -> None:
        """There is always room."""

    def close(self) -> None:
        """It is somebody else's."""


class _Descriptor:
    """A file descriptor of our own, for the same file."""

    def __init__(self, fd: int, *, polled: bool) -> None:
        """`polled`: a write to it would wait."""
        self._fd = fd
        self._polled = polled

    def _room(self, seconds: float | None) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(None if seconds is None else max(0, int(seconds * 1000))))

    def send(self, data: bytes) -> int:
        if not self._polled:
            return os.write(self._fd, data)
        sent = 0
        while sent < len(data) and self._room(0):
            sent += os.write(self._fd, data[sent : sent + _POLLED_BYTES])
        return sent

    def wait(self, seconds: float | None) -> None:
        self._room(seconds)

    def close(self) -> None:
        os.close(self._fd)


class _Socket(_Descriptor):
    """A socket, which takes what there is room for, whatever its settings: systemd gives services one."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, polled=False)
        self._socket = socket.socket(fileno=fd)

    def send(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


def _target(stream: TextIO) -> _Target:
    try:
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return _Stream(stream)
    if sys.platform == "win32":
        return _Stream(stream)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return _Descriptor(os.dup(fd), polled=False)
    if stat.S_ISSOCK(mode):
        return _Socket(os.dup(fd))
    if stat.S_ISFIFO(mode) or os.isatty(fd):
        # That it does not wait is a setting of the open file, which others have open, too. This opens it anew.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        with contextlib.suppress(OSError):
            return _Descriptor(os.open(f"/proc/self/fd/{fd}", flags), polled=False)
    return _Descriptor(os.dup(fd), polled=True)


class LogOutput:
    """Writes lines to one stream. Any thread may use it."""

    def __init__(self, stream: TextIO, notice: Callable[[int], str]) -> None:
        """`notice`: the line that says how many were dropped."""
        self._target = _target(stream)
        self._notice = notice
        # Reentrant: the garbage collector may have something to say while a line is written.
        self._lock = threading.RLock()
        # Lines that wait, the rest of one first, and how many lines each says were dropped.
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._writing = False
        # Set while there is no room: then the thread looks out for it.
        self._full = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<LogOutput {len(self._waiting)} lines wait, {self._dropped} dropped>"

    def write(self, line: str) -> None:
        """Write a line, now or later, or drop it. Never waits, and never raises OSError."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._lock:
            if self._closed:
                return
            if len(self._waiting) >= _MAX_LINES or self._waiting_bytes + len(data) > _MAX_BYTES:
                self._dropped += 1
                return
            if self._dropped and self._waiting:
                self._add_notice()
            self._add(data)
            self._write_waiting()

    def _add(self, data: bytes, dropped: int = 0) -> None:
        self._waiting.append((data, dropped))
        self._waiting_bytes += len(data)

    def _add_notice(self) -> None:
        dropped, self._dropped = self._dropped, 0
        self._add(self._notice(dropped).encode(errors="backslashreplace") + b"\n", dropped)

    def _write_waiting(self) -> None:
        """Write what waits, as far as there is room."""
        if self._writing or self._full:
            return
        self._writing = True
        try:
            while self._waiting and not self._full:
                written = self._write_first()
                if written and self._dropped and not self._waiting:
                    self._add_notice()
        finally:
            self._writing = False

    def _write_first(self) -> bool:
        """Returns whether it is written, and not lost."""
        data, dropped = self._waiting[0]
        try:
            sent = self._target.send(data)
        except BlockingIOError:
            sent = 0
        except Exception:  # noqa: BLE001 - a full disk, a reader that has gone; whatever it is, it is not for who logs
            self._remove_first()
            self._dropped += dropped or 1
            return False
        self._waiting_bytes -= sent
        if sent == len(data):
            self._waiting.popleft()
            return True
        self._waiting[0] = data[sent:], dropped
        self._full = True
        self._look_out()
        return False

    def _remove_first(self) -> None:
        self._waiting_bytes -= len(self._waiting.popleft()[0])

    def _look_out(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=_THREAD_NAME, daemon=True)
            self._thread.start()

    def _main(self) -> None:
        while True:
            self._target.wait(None)
            with self._lock:
                self._full = False
                if not self._closed:
                    self._write_waiting()
                if not self._full:
                    self._thread = None
                    if self._closed:
                        self._target.close()
                    return

    def flush(self, seconds: float) -> None:
        """Write what waits, for so long at most."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with self._lock:
                if self._closed or not self._waiting:
                    return
                self._full = False
                self._write_waiting()
                if not self._full:
                    continue
            self._target.wait(left)

    def close(self, seconds: float) -> None:
        """Write what waits, for so long at most, and nothing more."""
        self.flush(seconds)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # Otherwise somebody still waits for room.
            if self._thread is None:
                self._target.close()
