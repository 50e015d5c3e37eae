"""The line before the memory: a model that has found no room is loaded again when there is some for it, and before
those that were asked for later.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

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

    def is_admitted(self, name: str) -> bool:
        """Whether a model is counted that is loaded, or is being loaded."""
        ...


@dataclass(slots=True, eq=False)
class Place:
    """That of one model. `needed`: what it has found no room for; None if it was not tried yet. `turn`: set when it is
    to be tried.
    """

    name: str
    needed: Needed | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class RoomLine:
    """Lives on the event loop. What needs more than there is keeps nobody waiting who needs less."""

    def __init__(self, room: Room) -> None:
        self._room = room
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

    def leave(self, place: Place) -> None:
        """It is loaded, or not going to be."""
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
        waiting = self._waiting
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
