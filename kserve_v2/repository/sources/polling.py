"""Loads and unloads models as the repository changes: looks at it from time to time, or sooner where the file system
tells of changes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kserve_v2.errors import ErrorCode, ServingError
from kserve_v2.repository.reading.scan import ModelEntry, Snapshot
from kserve_v2.repository.sources.changes import Seen, changes
from kserve_v2.repository.sources.retries import failed
from kserve_v2.repository.sources.watching import Watcher

logger = logging.getLogger(__name__)

# The least time between looks, however many events there are; more where looks take long, or events mean nothing:
# somebody writes a log into the repository, for example.
_SOONEST_S = 0.05
_SOONEST_AFTER_NOTHING_S = 1.0
_TIMES_A_LOOK = 5
# How often a model that keeps changing is mentioned in the log.
_MENTION_EVERY_S = 30.0


class Models(Protocol):
    """Whoever loads and unloads models."""

    async def refresh(self, *, only_loaded: bool = False) -> None:
        """Have the models that come from elsewhere here as they are there now: all, or those that are loaded."""
        ...

    async def scan(self) -> Snapshot:
        """What is in the repositories now. Raises OSError if one cannot be read."""
        ...

    async def load(self, name: str) -> None:
        """Load a model as it is now. Raises ServingError."""
        ...

    def unload(self, name: str) -> None:
        """Serve a model no longer."""
        ...

    def is_wanted(self, name: str) -> bool:
        """Whether a model is loaded, or is to be."""
        ...

    def answers(self, name: str) -> bool:
        """Whether a model answers, if only in an older version."""
        ...

    @property
    def release_calls(self) -> Mapping[str, int]:
        """How often calls have changed the release of each model, if they have."""
        ...


class Reporter(Protocol):
    """Who is told what has come of it. Called on the event loop's thread."""

    def loaded(self, name: str, seconds: float) -> None:
        """A model that is new, or has changed, answers."""
        ...

    def failed(self, name: str, error: ServingError, *, answers: bool) -> None:
        """A load has failed. `answers`: what was served before goes on answering."""
        ...

    def unloaded(self, name: str) -> None:
        """A model that is no longer there is served no longer."""
        ...


class Silence:
    """A reporter for whom the log is enough: whoever loads writes to that."""

    def loaded(self, name: str, seconds: float) -> None:
        """Says nothing."""

    def failed(self, name: str, error: ServingError, *, answers: bool) -> None:
        """Says nothing."""

    def unloaded(self, name: str) -> None:
        """Says nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is looked, and how long a change has to stay as it is before it is acted upon, in seconds.
    `only_loaded`: models are neither added nor removed, others decide that.
    """

    every_s: float
    settle_s: float
    only_loaded: bool = False


class Poller:
    """Lives on the server's event loop. `start` once the models are loaded that it is told of."""

    def __init__(
        self,
        models: Models,
        roots: Sequence[Path],
        pace: Pace,
        reporter: Reporter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._roots = roots
        self._pace = pace
        self._reporter = reporter or Silence()
        self._clock = clock
        self._seen: Mapping[str, Seen] = {}
        self._devices: Mapping[Path, int | None] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._mentioned: dict[str, float] = {}
        self._trouble = ""
        self._refresh_s = float("-inf")
        self._watcher: Watcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._load_ended = asyncio.Event()
        self._soonest_s = _SOONEST_S

    def note_start(self, snapshot: Snapshot, problems: Iterable[str]) -> None:
        """What the models were loaded from at the start, and which of them could not be loaded."""
        now_s, failures = self._clock(), set(problems)
        self._seen = {
            name: Seen(found, now_s, found, failed(None, found, now_s) if name in failures else None)
            for name, found in _fingerprints(snapshot.models, {}).items()
        }
        self._devices = _devices(self._roots)

    def start(self) -> None:
        """Look from now on."""
        self._watcher = Watcher(self._roots)
        self._watcher.start()
        self._task = asyncio.get_running_loop().create_task(self._run(self._watcher))

    def stop(self) -> None:
        """Look no more. Loads that have begun go on."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._task is not None:
            self._task.cancel()

    async def _run(self, watcher: Watcher) -> None:
        next_s: float | None = None
        while True:
            by_event = await self._rest(watcher, next_s)
            began_s, before = self._clock(), self._seen
            try:
                next_s = await self.look()
            except Exception:
                # A defect of ours must not end the polling.
                logger.exception("the look at the model repository has failed")
            idle = by_event and self._seen == before
            least_s = min(2 * self._soonest_s, _SOONEST_AFTER_NOTHING_S) if idle else _SOONEST_S
            self._soonest_s = max(least_s, _TIMES_A_LOOK * (self._clock() - began_s))

    async def _rest(self, watcher: Watcher, next_s: float | None) -> bool:
        """Wait for the next look. `next_s`: when there is something to do. Returns whether an event makes it come."""
        pause_s = self._pace.every_s
        if next_s is not None:
            pause_s = min(pause_s, max(next_s - self._clock(), 0))
        soonest_s = min(self._soonest_s, pause_s)
        await asyncio.sleep(soonest_s)
        events = [asyncio.ensure_future(each.wait()) for each in (watcher.changed, self._load_ended)]
        await asyncio.wait(events, timeout=pause_s - soonest_s, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()
        by_event = watcher.changed.is_set()
        watcher.changed.clear()
        self._load_ended.clear()
        return by_event

    async def look(self) -> float | None:
        """Look at the repository, and begin what is to be done. Returns when there is more to do."""
        try:
            await self._refresh()
            # Before it is looked what there is: what a call has written may be taken away before anybody sees it.
            calls = dict(self._models.release_calls)
            snapshot = await self._models.scan()
            # Not here: a mount that hangs would stop the server.
            self._check_mounts(snapshot, await asyncio.to_thread(_devices, self._roots))
        except OSError as error:
            self._mention_trouble(f"{error.filename}: {error.strerror}")
            return None
        self._mention_trouble("")
        before, found = self._seen, _fingerprints(snapshot.models, calls)
        if self._pace.only_loaded:
            before = {name: each for name, each in before.items() if self._models.is_wanted(name)}
            found = {name: each for name, each in found.items() if self._models.is_wanted(name)}
        step = changes(before, found, self._clock(), self._pace.settle_s, self._loads.keys())
        self._seen = step.seen
        for name in step.unload:
            self._unload(name)
        for name in step.load:
            self._begin_load(name)
        self._mention_waiting(step.waiting)
        return step.next_s

    async def _refresh(self) -> None:
        """Events of the file system tell nothing of what comes from elsewhere: that is asked for at the pace."""
        now_s = self._clock()
        if now_s >= self._refresh_s:
            self._refresh_s = now_s + self._pace.every_s
            await self._models.refresh(only_loaded=self._pace.only_loaded)

    def _check_mounts(self, snapshot: Snapshot, devices: Mapping[Path, int | None]) -> None:
        """Raise OSError if a repository looks empty because what was mounted there is gone."""
        for root, device in devices.items():
            before = self._devices.get(root)
            if before is not None and device != before and not _has_models(root, snapshot):
                raise OSError(0, "it is empty, and on another file system than before", str(root))
        self._devices = devices

    def _begin_load(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self._load(name))
        self._loads[name] = task
        task.add_done_callback(lambda _: self._end_load(name))

    def _end_load(self, name: str) -> None:
        del self._loads[name]
        # It may have changed meanwhile, or have to be tried again.
        self._load_ended.set()

    async def _load(self, name: str) -> None:
        began_s = self._clock()
        failure = None
        try:
            await self._models.load(name)
        except ServingError as error:
            before = self._seen.get(name)
            # Otherwise it was taken away meanwhile.
            if before is not None and before.acted is not None:
                failure = failed(before.failure, before.acted, self._clock())
                if error.code is not ErrorCode.UNAVAILABLE:
                    # If there is no room for it, or somebody has unloaded it, it is not broken.
                    self._reporter.failed(name, error, answers=self._models.answers(name))
        except Exception:
            logger.exception("model '%s' could not be loaded", name)
        else:
            self._reporter.loaded(name, self._clock() - began_s)
        seen = self._seen.get(name)
        if seen is not None:
            self._seen = {**self._seen, name: replace(seen, failure=failure)}

    def _unload(self, name: str) -> None:
        if self._pace.only_loaded:
            return
        logger.info("model '%s' is no longer in the model repository: it is unloaded", name)
        self._models.unload(name)
        self._reporter.unloaded(name)

    # --- the log --------------------------------------------------------------------------------------------------

    def _mention_trouble(self, trouble: str) -> None:
        """Say what has gone wrong, once, and that it is over."""
        if trouble != self._trouble:
            if trouble:
                logger.warning("cannot read the model repository, all models stay as they are: %s", trouble)
            else:
                logger.info("the model repository can be read again")
                if self._watcher is not None:
                    self._watcher.start_again()
            self._trouble = trouble

    def _mention_waiting(self, names: Sequence[str]) -> None:
        now_s = self._clock()
        self._mentioned = {name: at_s for name, at_s in self._mentioned.items() if name in names}
        for name in names:
            if now_s - self._mentioned.get(name, -_MENTION_EVERY_S) >= _MENTION_EVERY_S:
                again = "still changes" if name in self._mentioned else "has changed"
                self._mentioned[name] = now_s
                logger.info(
                    "model '%s' %s in the model repository: waiting until it has stayed the same for %g s",
                    name, again, self._pace.settle_s,
                )  # fmt: skip


def _fingerprints(models: Mapping[str, ModelEntry], calls: Mapping[str, int]) -> dict[str, str]:
    return {
        name: f"{entry.fingerprint}/{calls.get(name, 0)}/{entry.problem or ''}"
        for name, entry in models.items()
    }


def _devices(roots: Sequence[Path]) -> dict[Path, int | None]:
    """The file system that each directory is on; None if that cannot be told."""
    devices: dict[Path, int | None] = {}
    for root in roots:
        try:
            devices[root] = root.stat().st_dev
        except OSError:
            devices[root] = None
    return devices


def _has_models(root: Path, snapshot: Snapshot) -> bool:
    return any(entry.path.parent == root for entry in snapshot.models.values())
