"""Which process gets the next connection."""

from enum import IntEnum

HOME = 0
"""The number of the process that accepts them."""


class Door(IntEnum):
    """Where a connection has come in: what is spoken on it."""

    REST = 0
    GRPC = 1


class Balance:
    """How many connections each process has, by door. A new one goes to a process with the fewest of its door: a few of
    them, which live long and are busy, would not be spread evenly by chance.
    """

    def __init__(self) -> None:
        self._open: dict[int, list[int]] = {HOME: [0] * len(Door)}

    def __repr__(self) -> str:
        return f"<Balance {self._open}>"

    @property
    def processes(self) -> list[int]:
        """Those that take connections."""
        return [*self._open]

    def count(self, process: int, door: Door) -> int:
        """How many connections a process has."""
        return self._open[process][door] if process in self._open else 0

    def join(self, process: int) -> None:
        """A process takes connections from now on, and has none."""
        self._open[process] = [0] * len(Door)

    def leave(self, process: int) -> None:
        """It takes none any more, and those that it had are gone."""
        self._open.pop(process, None)

    def order(self, door: Door) -> list[int]:
        """The processes in the order in which they are to be asked to take a connection. Of equals the first one is the
        home: as long as one connection is all there is, nothing is handed over.
        """
        return sorted(self._open, key=lambda process: (self._open[process][door], process))

    def opened(self, process: int, door: Door) -> None:
        """A process has one more."""
        self._open[process][door] += 1

    def closed(self, process: int, door: Door, count: int = 1) -> None:
        """It has so many fewer."""
        if process in self._open:
            self._open[process][door] -= count
