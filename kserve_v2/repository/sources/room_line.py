"""The line before the memory: a model that has found no room is loaded again when there is some for it, and before
those that were asked for later. What needs more than there is keeps nobody waiting who needs less, but not without end:
after so many have gone in before it, the others behind it wait, too, until what is there has become idle, or it is seen
that it does not.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MOST_BEFORE = 8
"""How many go in before one that waits, until those behind it wait, too."""

Needed = Mapping[str, int]
"""Bytes by device."""


class Room(Protocol):
    """Whoever counts what is in memory. On the event loop."""

    def changing(self) -> asyncio.Event:
        """Set when there may be room, or less of it, since this was called."""
        ...

    def first_with_room(self, wanted: Iterable[tuple[str, Needed]]) -> str | None:
        """The first of these models for which there is room, or can be made; None if there is none."""
        ...

    def room_in(self, name: str, needed: Needed) -> float | None:
        """In how many seconds there may be room for a model, if nobody is asked meanwhile; None if there is none."""
        ...

    def is_admitted(self, name: str) -> bool:
        """Whether a model is counted that is loaded, or is being loaded."""
        ...


@dataclass(slots=True, eq=False)
class Place:
    """That of one model. `needed`: what it has found no room for; None if it was not tried yet. `turn`: set when it is
    to be tried. `passed`: how many have gone in before it that were behind it, since they waited last; `most`: how many
    may. `until_s`: until when they wait; None while they do not.
    """

    name: str
    needed: Needed | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    passed: int = 0
    most: int = MOST_BEFORE
    until_s: float | None = None


def pass_by(line: Iterable[Place], gone_in: Place) -> None:
    """One has got room: count it for those that wait for that in front of it. `line`: with it."""
    for place in line:
        if place is gone_in:
            return
        if place.needed is not None:
            place.passed += 1


def in_turn(line: Sequence[Place], now_s: float, patience_s: Callable[[Place], float]) -> Sequence[Place]:
    """Those of the places of a line that may go in: all, or up to the first that enough have passed by. `patience_s`:
    for how long the others wait for one then. Afterwards twice as many as before go in before it: what keeps it out may
    be asked all the time, and then no waiting helps.
    """
    for number, place in enumerate(line):
        if place.until_s is None and place.needed is not None and place.passed >= place.most:
            place.until_s = now_s + patience_s(place)
        if place.until_s is None:
            continue
        if now_s < place.until_s:
            return line[: number + 1]
        place.passed, place.most, place.until_s = 0, 2 * place.most, None
    return line


class RoomLine:
    """Lives on the event loop."""

    def __init__(self, room: Room, patience_s: float, clock: Callable[[], float]) -> None:
        """`patience_s`: how long what has been passed by keeps others waiting, once there could be room for it."""
        self._room = room
        self._patience_s = patience_s
        self._clock = clock
        self._places: dict[Place, None] = {}
        # Who was given the room that there is, and may not be counted yet.
        self._called: Place | None = None
        self._watching: asyncio.Task[None] | None = None

    def join(self, name: str) -> Place:
        """A place at the end. Its turn comes at once, unless there is room for one that waits."""
        place = Place(name)
        self._places[place] = None
        self._go_on()
        return place

    def wait(self, place: Place, needed: Needed) -> None:
        """It was tried, and there was no room for so much. It keeps its place."""
        place.needed = needed
        place.turn.clear()
        if self._called is place:
            self._called = None
        self._go_on()

    def leave(self, place: Place, *, loaded: bool) -> None:
        """It is loaded, or not going to be."""
        if loaded:
            pass_by(self._places, place)
        self._places.pop(place)
        if self._called is place:
            self._called = None
        self._go_on()

    def _go_on(self) -> None:
        self._call_next()
        if self._waiting and self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        elif not self._waiting and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    @property
    def _waiting(self) -> list[Place]:
        return [place for place in self._places if not place.turn.is_set()]

    async def _watch(self) -> None:
        while True:
            changing = self._room.changing()
            self._call_next()
            await changing.wait()

    def _call_next(self) -> None:
        if self._called is not None and not self._room.is_admitted(self._called.name):
            return
        self._called = None
        may = in_turn(list(self._places), self._clock(), self._patience)
        waiting = [place for place in may if not place.turn.is_set()]
        short = [(place.name, place.needed) for place in waiting if place.needed is not None]
        first = self._room.first_with_room(short) if short else None
        for place in waiting:
            if place.needed is None:
                # How much it needs is not known before it is tried.
                place.turn.set()
            elif place.name == first:
                self._called = place
                place.turn.set()
                return

    def _patience(self, place: Place) -> float:
        return (self._room.room_in(place.name, place.needed or {}) or 0.0) + self._patience_s
