"""What the header blocks of one connection begin with, where they differ only behind that.

A client gives the fields that all its requests have by their numbers, and spells out what is new: a trace, a deadline,
a token. With every field that it adds to the table the numbers of those before it grow, so the same fields are not the
same bytes. But it is known how many have been added, and so which ones are meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from sys import maxsize
from typing import Generic

from kserve_v2.http2.errors import ConnectionFaultError
from kserve_v2.http2.fields import OF_REQUEST, REQUIRED, Field, Head, ReadHead
from kserve_v2.http2.hpack import FIRST_DYNAMIC, INDEXED, Decoder, Fields
from kserve_v2.http2.tails import Tail, tail_of
from kserve_v2.memory.remembered import Remembered

# Of one connection's, but for the tails: with as many and as large ones as there can be, it is about 16 times as much.
_MAX_BYTES = 16 * 1024
_MAX_MARKS = 64
_OVERHEAD_BYTES = 1024
_MAX_FIELDS = 64
_MAX_TAILS = 8

# So many of the youngest fields of the table have numbers that are taken here: all that fit into one byte, but one.
_TURN = 64
_YOUNGEST = INDEXED | FIRST_DYNAMIC
_NUMBERS = bytes(range(INDEXED + 1, _YOUNGEST + _TURN))

# When the fields of the static table were added, as if they could not grow old.
_STATIC = maxsize


def _places(added: int) -> bytes:
    """How to translate numbers, when so many fields have been added, into what does not change with the next one: which
    field it was that was added, but for whole turns.
    """
    own = bytes(_YOUNGEST + (added - age) % _TURN for age in range(_TURN))
    return bytes(range(_YOUNGEST)) + own + bytes(range(_YOUNGEST + _TURN, 256))


_PLACES = tuple(map(_places, range(_TURN)))


@dataclass(slots=True)
class Beginning(Generic[Head]):
    """Fields with which blocks begin, and what they mean alone, if they are all that a request must have. `tails`: what
    has followed, by its size, or None if that came once.
    """

    held: Fields
    head: Head | None
    tails: dict[int, Tail | None]

    def recall(self, block: bytes, decoder: Decoder) -> Fields | None:
        """What a block holds that is like one that came before; None if it has to be decoded."""
        fields, nbytes, marks = self.held
        start = len(fields)
        tail = self.tails.get(len(block) - start)
        if tail is None:
            return None
        found = tail.read(block[start:], decoder)
        return None if found is None else (fields + found, nbytes + tail.nbytes, marks)

    def note(self, block: bytes) -> None:
        """Remember what a block ends with that has been decoded, and is a request's, if as much comes again."""
        start = len(self.held[0])
        size = len(block) - start
        if size not in self.tails:
            if len(self.tails) == _MAX_TAILS:
                del self.tails[next(iter(self.tails))]
            self.tails[size] = None
        elif self.tails[size] is None:
            self.tails[size] = tail_of(block[start:])


class Beginnings(Generic[Head]):
    """Those of one connection."""

    def __init__(self, decoder: Decoder, read_head: ReadHead[Head]) -> None:
        self._decoder = decoder
        self._read_head = read_head
        self._known: Remembered[Sequence[Field], Beginning[Head]] = Remembered(_MAX_BYTES, _MAX_MARKS)
        # By their bytes; and as which of all fields the oldest of them was added to the table.
        self._by_places: Remembered[bytes, tuple[Beginning[Head], int]] = Remembered(_MAX_BYTES, _MAX_MARKS)

    def of(self, block: bytes) -> Beginning[Head] | None:
        """What the block begins with, if that is known."""
        run = block[: len(block) - len(block.lstrip(_NUMBERS))]
        added = self._decoder.added
        places = run.translate(_PLACES[added % _TURN])
        found = self._by_places[places]
        if found is not None:
            known, oldest = found
            # Less than a turn ago, so that it is this one that is meant.
            if added - oldest < _TURN and self._decoder.holds(oldest):
                return known
        return self._find(run, places) if run and len(run) <= _MAX_FIELDS else None

    def _find(self, run: bytes, places: bytes) -> Beginning[Head] | None:
        """By what they are: a client that has lost fields adds them again."""
        try:
            held = self._decoder.decode(run)
        except ConnectionFaultError:
            # So is the whole block, and it says why.
            return None
        fields, nbytes, marks = held
        key = tuple(fields)
        taken = nbytes + _OVERHEAD_BYTES
        known = self._known[key]
        if known is None:
            if not self._known.is_seen_again(key):
                return None
            head = self._read_head(fields, nbytes) if marks & OF_REQUEST == REQUIRED else None
            known = Beginning(held, head, {})
            self._known.keep(key, known, taken)
        ages = [number - _YOUNGEST for number in run if number >= _YOUNGEST]
        oldest = self._decoder.added - max(ages) if ages else _STATIC
        self._by_places.keep(places, (known, oldest), taken)
        return known
