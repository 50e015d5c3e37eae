"""Fetching files, over connections that break: what has come is kept, what is missing is asked for again, and nothing
counts as fetched before its size, and its checksum if the store tells one, have been compared.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import BinaryIO

from kserve_v2.errors import UnavailableError
from kserve_v2.repository.locations.manifest import Item
from kserve_v2.repository.locations.store import Readable, unreachable

logger = logging.getLogger(__name__)

CHUNK = 16 * 1024 * 1024
# How often an error is taken for one that passes, without a byte in between, and how long the first is waited for.
_ATTEMPTS = 6
_FIRST_PAUSE_S = 0.25
# How often a file is fetched from its beginning because its checksum was wrong.
_WHOLE_ATTEMPTS = 2
_REPORT_EVERY_S = 5.0


class StoppedError(UnavailableError):
    """The server is about to end."""


class Stop:
    """Says that nothing more is to be fetched: because the server ends, or another file of the model has failed."""

    def __init__(self, ending: Event) -> None:
        self._ending = ending
        self._failed = Event()

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._ending.is_set() or self._failed.is_set()

    def fail(self) -> None:
        """A file cannot be fetched: the others are of no use."""
        self._failed.set()

    def wait(self, seconds: float) -> None:
        """Wait, unless it is time to stop."""
        self._ending.wait(seconds)


@dataclass
class Progress:
    """Tells the log how far a model has come."""

    model: str
    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.started_s = self._reported_s = self.clock()

    def add(self, size: int) -> None:
        """So many bytes more."""
        with self._lock:
            self.done += size
            now_s = self.clock()
            if now_s - self._reported_s < _REPORT_EVERY_S:
                return
            self._reported_s = now_s
            rate = self.done / (now_s - self.started_s)
        logger.info(
            "model '%s': %d %% of %s fetched, %s/s", self.model, 100 * self.done // max(1, self.total),
            readable(self.total), readable(rate),
        )  # fmt: skip


def readable(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def fetch(store: Readable, item: Item, partial: Path, progress: Progress, stop: Stop) -> None:
    """Have all of a file in `partial`, which may have a part of it from before. Raises UnavailableError."""
    try:
        _fetch_whole(store, item, partial, progress, stop)
    except BaseException:
        stop.fail()
        raise


def _fetch_whole(store: Readable, item: Item, partial: Path, progress: Progress, stop: Stop) -> None:
    for _ in range(_WHOLE_ATTEMPTS):
        with partial.open("ab") as target:
            if target.tell() > item.size:
                target.truncate(0)
            _fetch_rest(store, item, target, progress, stop)
        if _is_whole(store, item, partial):
            return
        logger.warning("model '%s': %s has another checksum than the store tells", progress.model, item.path)
        partial.unlink()
    raise UnavailableError(
        f"'{item.path}' comes with another checksum than the one which its store tells, {_WHOLE_ATTEMPTS} times"
    )


def _fetch_rest(store: Readable, item: Item, target: BinaryIO, progress: Progress, stop: Stop) -> None:
    failures = 0
    position = target.seek(0, 2)
    progress.add(position)
    while position < item.size:
        if stop.is_set():
            raise StoppedError("Server exiting: it was not fetched in time")
        wanted = min(CHUNK, item.size - position)
        error: Exception | None = None
        content = b""
        try:
            content = store.read(item, position, position + wanted)
        except (FileNotFoundError, PermissionError) as final:
            raise unreachable(final, f"{store.shown}: {item.key}") from final
        except Exception as passing:  # noqa: BLE001 - every library has its own for a broken connection
            error = passing
        if 0 < len(content) <= wanted:
            target.write(content)
            position += len(content)
            progress.add(len(content))
            failures = 0
            continue
        error = error or OSError(f"{len(content)} bytes came, {wanted} were asked for")
        failures += 1
        if failures == _ATTEMPTS:
            raise unreachable(error, f"{store.shown}: {item.key}") from error
        logger.info("model '%s': %s: again after %s", progress.model, item.path, type(error).__name__)
        stop.wait(_FIRST_PAUSE_S * 2**failures)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _is_whole(store: Readable, item: Item, partial: Path) -> bool:
    digest = item.digest
    if digest is None or digest.algorithm not in hashlib.algorithms_available:
        return True
    return _digest(partial, digest.algorithm) == digest.hex or not store.counts(item)
