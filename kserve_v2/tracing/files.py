"""The trace files, written by a thread of their own."""

import logging
import queue
import threading
from collections import defaultdict
from io import SEEK_END
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.triton_json import trace_objects

logger = logging.getLogger(__name__)

# Traces that wait to be written, and the bytes of their tensors. What comes beyond that is lost: requests must not
# wait for the disk.
_MAX_WAITING = 10_000
_MAX_WAITING_BYTES = 256 * 1024 * 1024

_CLOSE_SECONDS = 10


class _Flush(NamedTuple):
    """Write what has been collected for a scope: its settings have changed."""

    scope: str


class TraceFiles:
    """Writes traces to `path` or, those with a log frequency n, n at a time to `path.0`, `path.1` and so on.

    `write`, `flush` and `close` are called on one thread, and return at once, except `close`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index = 0
        self._file: BinaryIO | None = None
        self._collected: defaultdict[str, list[bytes]] = defaultdict(list)
        self._queue: queue.SimpleQueue[Trace | _Flush | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._bytes_lock = threading.Lock()
        self._dropped = 0
        self._failed = False
        self._thread = threading.Thread(target=self._main, name="traces", daemon=True)

    def __repr__(self) -> str:
        return f"<TraceFiles {self._path} waiting={self._queue.qsize()} dropped={self._dropped}>"

    def start(self) -> None:
        """Start the thread. Raises OSError if there is no directory for the files."""
        if not self._path.parent.is_dir():
            raise NotADirectoryError(f"cannot write traces to {self._path}: there is no such directory")
        self._thread.start()

    def write(self, trace: Trace) -> None:
        """Have a trace written that nobody changes any more."""
        size = trace.nbytes
        if self._queue.qsize() >= _MAX_WAITING or self._waiting_bytes + size > _MAX_WAITING_BYTES:
            self._dropped += 1
            return
        self._add_waiting(size)
        self._queue.put(trace)

    def flush(self, scope: str) -> None:
        """Have everything written that was collected for a scope."""
        self._queue.put(_Flush(scope))

    def close(self) -> None:
        """Return when everything is written, or when it is clear that the disk does not take it."""
        if self._thread.ident is None:
            return
        self._queue.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            logger.warning("traces are lost: they could not be written in %d s", _CLOSE_SECONDS)
        if self._dropped:
            logger.warning(
                "%d traces were dropped: they came faster than they could be written", self._dropped
            )

    def _add_waiting(self, size: int) -> None:
        if size:
            with self._bytes_lock:
                self._waiting_bytes += size

    def _main(self) -> None:
        while (work := self._queue.get()) is not None:
            self._take(work)
        for scope in list(self._collected):
            self._take(_Flush(scope))
        if self._file is not None:
            self._file.close()

    def _take(self, work: Trace | _Flush) -> None:
        try:
            if isinstance(work, _Flush):
                self._write_numbered(work.scope)
            else:
                self._add_waiting(-work.nbytes)
                self._write(work)
        except OSError as error:
            # A full disk stays full for a while: say it once, and go on trying.
            if not self._failed:
                logger.error("cannot write traces to %s: %s", self._path, error.strerror)  # noqa: TRY400 - no defect
            self._failed = True
        else:
            self._failed = False

    def _write(self, trace: Trace) -> None:
        encoded = orjson.dumps(trace_objects(trace))[1:-1]
        if trace.log_frequency == 0:
            self._append(encoded)
            return
        self._collected[trace.scope].append(encoded)
        if len(self._collected[trace.scope]) >= trace.log_frequency:
            self._write_numbered(trace.scope)

    def _append(self, encoded: bytes) -> None:
        """Add to the one file, which is complete JSON after every trace."""
        if self._file is None:
            self._file = self._path.open("wb", buffering=0)
            self._file.write(b"[" + encoded + b"]")
        else:
            self._file.seek(-1, SEEK_END)
            self._file.write(b"," + encoded + b"]")

    def _write_numbered(self, scope: str) -> None:
        collected = self._collected.pop(scope, [])
        if collected:
            path = self._path.with_name(f"{self._path.name}.{self._index}")
            self._index += 1
            # Whoever waits for the file to appear finds it whole.
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(b"[" + b",".join(collected) + b"]")
            partial.replace(path)
