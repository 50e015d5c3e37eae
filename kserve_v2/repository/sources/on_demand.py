"""Models that are loaded when they are asked for: whoever asks first has that done, and all who ask meanwhile wait for
the same load.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, Protocol, TypeVar

from kserve_v2.errors import (
    ErrorCode,
    ExitingError,
    NoRoomError,
    NoRoomYetError,
    NotFoundError,
    ServingError,
    UnavailableError,
)
from kserve_v2.repository.reading.scan import ModelEntry
from kserve_v2.repository.sources.retries import Failure, failed
from kserve_v2.repository.sources.room_line import Place, Room, RoomLine
from kserve_v2.scheduling.failures import unheard

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Of the time that requests wait for their models, so much do others wait for what they have gone in before.
_PARTS_OF_A_WAIT = 8

_NOT_NOW = (ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED)


class Models(Protocol):
    """Whoever loads models."""

    async def find(self, name: str) -> ModelEntry | None:
        """A model as it is on disk now; None if no repository has it."""
        ...

    async def load(self, name: str) -> None:
        """Load a model. Raises ServingError; NoRoomYetError where waiting may help."""
        ...

    def is_loaded(self, name: str) -> bool:
        """Whether a model is loaded, if only some of its versions."""
        ...

    def reasons(self, name: str) -> str:
        """Why a model does not answer, behind a colon; "" if nothing has failed."""
        ...


class OnDemand:
    """Lives on the server's event loop. What it keeps of a name that no repository has is gone with the answer: clients
    make up names without end.
    """

    def __init__(
        self, models: Models, room: Room, wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`room`: in memory. `wait_s`: how long a request waits for its model; 0 if it does not."""
        self._models = models
        self._line = RoomLine(room, wait_s / _PARTS_OF_A_WAIT, clock)
        self._wait_s = wait_s
        self._clock = clock
        self._finding = SingleFlight[ModelEntry | None]()
        self._loading = SingleFlight[None]()
        self._failures: dict[str, Failure] = {}
        # Of these, what has no room whatever goes.
        self._too_large: dict[str, NoRoomError] = {}
        # Of each load that is under way, until when anybody waits for it; and why it has no room, while it has none.
        self._until_s: dict[str, float] = {}
        self._short: dict[str, NoRoomYetError] = {}
        self._unloaded: dict[str, asyncio.Event] = {}
        self._exiting = asyncio.Event()
        # Why the repository could not be read, if it could not.
        self._trouble = ""

    def exit(self) -> None:
        """Nothing is loaded any more, and who waits is told so."""
        self._exiting.set()

    def loaded(self, names: Iterable[str]) -> None:
        """A model was loaded, whoever has asked for it: what has failed before says nothing any more of the next load,
        although its files may be the same. `names`: those by which it may be asked for.
        """
        for name in names:
            self._forget(name)

    def _forget(self, name: str) -> None:
        """Nothing is wrong with a model."""
        self._failures.pop(name, None)
        self._too_large.pop(name, None)

    def unloaded(self, names: Iterable[str]) -> None:
        """Somebody has unloaded a model: what waits for room does so no longer. `names`: as in `loaded`."""
        for name in tuple(self._too_large):
            # It may have had what these want.
            self._forget(name)
        for name in names:
            if name in self._unloaded:
                self._unloaded[name].set()

    async def demand(self, name: str) -> None:
        """Have a model loaded that is not; returns when it is. A caller that leaves does not end the load.

        Raises NotFoundError if no repository has the model, and UnavailableError if it cannot be loaded, or is not
        within the time that requests wait.
        """
        if self._exiting.is_set():
            raise ExitingError("Server exiting")
        load = self._loading.under_way(name)
        if load is None:
            entry = await self._find(name)
            if entry is None:
                self._forget(name)
                raise NotFoundError(f"Request for unknown model: '{name}' is not found")
            failure = self._failures.get(name)
            if failure is not None and not failure.is_due(entry.fingerprint, self._clock()):
                if name in self._too_large:
                    raise NoRoomError(self._too_large[name].message)
                raise self._refusal(name)
            load = self._loading.begin(name, lambda: self._load(name, entry.fingerprint))
        self._until_s[name] = self._clock() + self._wait_s
        await self._wait(name, load)

    async def _find(self, name: str) -> ModelEntry | None:
        try:
            entry = await self._finding.join(name, lambda: self._models.find(name))
        except OSError as error:
            trouble = f"{error.filename}: {error.strerror}"
            if trouble != self._trouble:
                logger.warning("cannot read the model repository, nothing new is loaded: %s", trouble)
            self._trouble = trouble
            raise UnavailableError(
                f"Request for unknown model: '{name}' is not at ready state: the model repository cannot be read"
            ) from None
        self._trouble = ""
        return entry

    async def _wait(self, name: str, load: "asyncio.Task[None]") -> None:
        exiting = asyncio.ensure_future(self._exiting.wait())
        try:
            await asyncio.wait({load, exiting}, timeout=self._wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exiting.cancel()
        if load.done():
            try:
                load.result()
            except ServingError as error:
                if error.code in _NOT_NOW:
                    raise
                # Nothing is wrong with the request.
                raise self._refusal(name) from None
        elif self._exiting.is_set():
            raise ExitingError("Server exiting")
        elif name in self._short:
            raise self._short[name]
        else:
            raise UnavailableError(
                f"Request for unknown model: '{name}' is not at ready state: it is being loaded"
            )

    async def _load(self, name: str, fingerprint: str) -> None:
        try:
            await self._load_when_there_is_room(name)
        except ServingError as error:
            if self._models.is_loaded(name):
                # Only some of its versions have failed. Whoever waits for one is told of that one when it asks again.
                self._forget(name)
                return
            if isinstance(error, NoRoomError):
                # What it takes may only be known by loading it, which is more than there may be: not at every request,
                # but soon again, as others that stay may go.
                self._too_large[name] = error
                self._failures[name] = failed(None, fingerprint, self._clock())
            elif error.code not in _NOT_NOW:
                # If it was unloaded meanwhile, or waits for room, the model has not failed.
                self._too_large.pop(name, None)
                self._failures[name] = failed(self._failures.get(name), fingerprint, self._clock())
            raise
        else:
            self._forget(name)
        finally:
            self._until_s.pop(name, None)

    async def _load_when_there_is_room(self, name: str) -> None:
        """Load a model, as often as it takes, for as long as anybody waits for that. What there is no room for as a
        whole is not loaded in part meanwhile, so that those who wait do not keep memory from each other.
        """
        unloaded = self._unloaded[name] = asyncio.Event()
        place, loaded = self._line.join(name), False
        try:
            while await self._turn(name, place, unloaded):
                error = await self._try(name)
                if error is None:
                    loaded = True
                    return
                self._short[name] = error
                if unloaded.is_set() or error.in_s > self._left_s(name):
                    raise error
                self._line.wait(place, error.needed)
            raise self._short.get(name) or UnavailableError(
                f"Request for unknown model: '{name}' is not at ready state: others that were asked for before it wait "
                "for room in the memory budget"
            )
        finally:
            self._line.leave(place, loaded=loaded)
            self._unloaded.pop(name, None)
            self._short.pop(name, None)

    async def _try(self, name: str) -> NoRoomYetError | None:
        try:
            await self._models.load(name)
        except NoRoomYetError as error:
            return error
        return None

    def _left_s(self, name: str) -> float:
        """How long anybody waits for a model yet."""
        return max(0.0, self._until_s.get(name, 0.0) - self._clock())

    async def _turn(self, name: str, place: Place, unloaded: asyncio.Event) -> bool:
        """Wait for the turn of a model. False: it does not come while anybody waits."""
        while not (unloaded.is_set() or self._exiting.is_set()):
            if place.turn.is_set():
                return True
            if not (left_s := self._left_s(name)):
                return False
            waits = [asyncio.ensure_future(each.wait()) for each in (place.turn, unloaded, self._exiting)]
            try:
                await asyncio.wait(waits, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        return False

    def _refusal(self, name: str) -> UnavailableError:
        return UnavailableError(
            f"Request for unknown model: '{name}' is not at ready state{self._models.reasons(name)}"
        )


class SingleFlight(Generic[T]):
    """Work that is done once for all who ask for it at the same time, by key."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    def under_way(self, key: str) -> "asyncio.Task[T] | None":
        """The work for a key that has begun and not ended."""
        return self._tasks.get(key)

    def begin(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """The work that is under way for a key, or else `work`, which begins."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda done: self._end(key, done))
        return task

    async def join(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What comes of it. Whoever leaves does not end it for the others."""
        return await asyncio.shield(self.begin(key, work))

    def _end(self, key: str, task: "asyncio.Task[T]") -> None:
        del self._tasks[key]
        unheard(task)
