"""Work that takes long, done on the event loop in slices of about a millisecond, so that others wait no longer than for
one of them. On another thread it would hold the interpreter all the same, and for longer at a time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterable
from io import BytesIO
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")
Slices = Generator[None, None, T]
"""Work that stops after each slice. Its result is the value that it returns."""

Room = Callable[[int], bool]
"""Asks whether there is room for so many bytes more, which then count as in flight. Work in slices keeps what it has
made while others have their turns. Where there is no room for that, the rest is done in one go.
"""


def any_room(_: int) -> bool:
    """There is: nothing has to wait for its turn."""
    return True


LARGE_BYTES = 256 * 1024
"""What is smaller is done in one go."""

SLICE_BYTES = 64 * 1024
"""How much text is read or written in a slice."""

COPIED_BYTES = 512 * 1024
"""How much is copied in a slice."""

_SLICE_ITEMS = 64

# A loop that is never idle hands the interpreter to none of the threads that execute models. They wait for it about as
# long with any other thread that computes.
_SLICES_BETWEEN_PAUSES = 4
_PAUSE_S = 0.001


class Work(Generic[T]):
    """What is being done."""

    def __init__(self, slices: Slices[T], done: Callable[[T | Exception], None]) -> None:
        self._slices = slices
        self._done = done
        self._given_up = False

    def give_up(self) -> None:
        """Nobody wants it any more: `done` is not called."""
        self._given_up = True

    def step(self) -> bool:
        """Do a slice. Returns whether there are more."""
        if self._given_up:
            self._slices.close()
            return False
        outcome: T | Exception
        try:
            next(self._slices)
        except StopIteration as end:
            outcome = end.value
        except Exception as error:  # noqa: BLE001 - it is for whoever waits for the result
            outcome = error
        else:
            return True
        self._done(outcome)
        return False


class Slicer:
    """Does one slice in a turn of the loop, with a pause after some, however many works there are; they take turns."""

    def __init__(self) -> None:
        self._works: deque[Work[Any]] = deque()
        self._awake = False
        self._since_pause = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, slices: Slices[T], done: Callable[[T | Exception], None]) -> Work[T]:
        """Begin. `done` is called with the result, or with what was raised, and never before this returns."""
        work = Work(slices, done)
        self._begin(work)
        return work

    def begin_now(self, slices: Slices[T], done: Callable[[T | Exception], None]) -> Work[T] | None:
        """As `begin`, but does the first slice at once. None if there were no more, and `done` has been called."""
        work = Work(slices, done)
        if not work.step():
            return None
        self._begin(work)
        return work

    async def finish(self, slices: Slices[T]) -> T:
        """Do it, the first slice at once, and return the result. Raises what it raises."""
        try:
            next(slices)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(outcome: T | Exception) -> None:
            if result.done():
                return
            if isinstance(outcome, Exception):
                result.set_exception(outcome)
            else:
                result.set_result(outcome)

        work = self.begin(slices, done)
        try:
            return await result
        finally:
            work.give_up()

    async def idle(self) -> None:
        """Wait until there is nothing to do, and whoever waited for a result has gone on with it."""
        await self._idle.wait()
        await asyncio.sleep(0)

    def _begin(self, work: Work[Any]) -> None:
        self._works.append(work)
        self._idle.clear()
        self._go_on()

    def _go_on(self) -> None:
        if not self._works:
            self._idle.set()
        if not self._works or self._awake:
            return
        self._awake = True
        loop = asyncio.get_running_loop()
        if self._since_pause < _SLICES_BETWEEN_PAUSES:
            loop.call_soon(self._turn)
        else:
            self._since_pause = 0
            loop.call_later(_PAUSE_S, self._turn)

    def _turn(self) -> None:
        self._awake = False
        self._since_pause += 1
        work = self._works.popleft()
        try:
            if work.step():
                self._works.append(work)
        finally:
            self._go_on()


def joined(pieces: Iterable[bytes | memoryview], size: int = 0) -> Slices[bytes]:
    """The pieces put together. To write to as much fresh memory in one go takes several milliseconds for some MiB.
    `size`: of all of them, if it is known.
    """
    whole = room_for(size)
    for piece in pieces:
        whole.write(piece)
        yield
    # It hands out what it has, and copies nothing.
    return whole.getvalue()


def room_for(size: int) -> BytesIO:
    """What so many bytes are written to: if it has to grow, it may be copied each time, in one go."""
    return BytesIO(bytes(size))


def copied(body: bytes | bytearray | memoryview) -> Slices[bytes]:
    """All bytes of a body."""
    if isinstance(body, bytes):
        return body
    view = memoryview(body)
    pieces = (view[at : at + COPIED_BYTES] for at in range(0, len(view), COPIED_BYTES))
    return (yield from joined(pieces, len(view)))


def mapped(make: Callable[[U], T], items: Iterable[U]) -> Slices[list[T]]:
    """What is made of each item, where that takes some ten microseconds."""
    made: list[T] = []
    for number, item in enumerate(items, 1):
        made.append(make(item))
        if number % _SLICE_ITEMS == 0:
            yield
    return made


def at_once(slices: Slices[T]) -> T:
    """All of them, one after the other."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
