"""BYTES tensors of very many elements, whose work is done in slices: to make a Python object of each takes long, and so
do counting their bytes and freeing them.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress

import numpy as np

from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BYTES, Array
from kserve_v2.tensors.strings import CutOffError, bytes_array, encode_bytes_tensor, flat_bytes, read_elements

SLICE_ELEMENTS = 4096
"""So many elements are read or written in a slice, or fewer if they are long."""

_SLICE_BYTES = 64 * 1024

# Of a Python object that holds one element, beside its content; and of the two arrays that it is in.
OBJECT_BYTES = 40
_REFERENCES_BYTES = 16

# How long what has been written is held.
_LATER_S = 0.02

# Pieces that are freed in one turn of the loop.
_FREED_AT_ONCE = 8

Pieces = list[Array]
"""The elements, in flat arrays: of lists, the garbage collector would look at each element."""

Room = Callable[[int], bool]


def is_large(array: Array) -> bool:
    """Whether a tensor is one of very many texts."""
    return array.size > 2 * SLICE_ELEMENTS and array.dtype == BYTES.dtype


class LargeTexts:
    """One that a client has sent, and that was read in slices, right or wrong."""

    def __init__(self, found: Array | CutOffError, data: memoryview | None = None) -> None:
        """`found`: its elements, flat, or why they cannot be had. `data`: as it was sent, where that is raw bytes."""
        self._found = found
        self.data = data

    def tensor(self, announced: AnnouncedInput) -> Array:
        """The tensor that was announced. Raises InvalidArgumentError as `strings.decode_bytes_tensor`."""
        if isinstance(self._found, CutOffError):
            raise self._found.about(announced)
        return bytes_array(announced, self._found)


def read_raw(data: memoryview, room: Room) -> Generator[None, None, LargeTexts | None]:
    """Read raw data in slices. None if there is no `room` for the elements."""
    gathered = Gathered()
    at, size = 0, len(data)
    while at < size:
        piece: list[bytes] = []
        try:
            at = read_elements(data, at, piece)
        except CutOffError as error:
            yield from gathered.dropped()
            return LargeTexts(error, data)
        if not room(gathered.add(piece)):
            return None
        yield
    return LargeTexts((yield from gathered.in_one()), data)


class Gathered:
    """Elements of a tensor that is being read."""

    def __init__(self) -> None:
        self._pieces: Pieces = []
        self._content_bytes = 0

    def __del__(self) -> None:
        """Of a request that was given up, or came to nothing, they are freed in slices, too."""
        loop = asyncio._get_running_loop()
        if loop is not None and len(self._pieces) > _FREED_AT_ONCE:
            loop.call_soon(_free, loop, deque(self._pieces))

    def add(self, elements: list[bytes]) -> int:
        """Add some. Returns how many bytes they take."""
        self._pieces.append(flat_bytes(elements))
        content_bytes = sum(map(len, elements))
        self._content_bytes += content_bytes
        return content_bytes + len(elements) * (OBJECT_BYTES + _REFERENCES_BYTES)

    def dropped(self) -> Generator[None, None, None]:
        """Free them, in slices."""
        while self._pieces:
            del self._pieces[-_FREED_AT_ONCE:]
            yield

    def in_one(self) -> Generator[None, None, Array]:
        """A flat array of all, in slices. It is freed in slices, too, whoever lets it go last."""
        array: Array = np.empty(sum(map(len, self._pieces)), BYTES.dtype)
        at = 0
        for piece in self._pieces:
            array[at : at + len(piece)] = piece
            at += len(piece)
            yield
        pieces, self._pieces = self._pieces, []
        _free_in_slices(array, pieces, self._content_bytes)
        return array


def parts_of(array: Array) -> Iterable[list[bytes]]:
    """The elements of a tensor, in lists of as many as are for a slice."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, SLICE_ELEMENTS):
        part: list[bytes] = flat[start : start + SLICE_ELEMENTS].tolist()
        times = sum(map(len, part)) // _SLICE_BYTES
        if times < 2:
            yield part
            continue
        few = max(1, len(part) // times)
        yield from (part[at : at + few] for at in range(0, len(part), few))


def written_raw(array: Array) -> Generator[None, None, list[bytes]]:
    """The wire form of a BYTES tensor, in pieces and in slices. The array is freed in slices."""
    written: list[bytes] = []
    for part in kept_parts(array):
        written.append(encode_bytes_tensor(part))
        yield
    return written


def kept_parts(array: Array) -> Iterable[list[bytes]]:
    """As `parts_of`; when all have been had, the array is freed in slices."""
    pieces: Pieces = []
    owner = _owner(array)
    kept = id(owner) in _known or owner.size != array.size
    for part in parts_of(array):
        if not kept:
            pieces.append(flat_bytes(part))
        yield part
    if not kept:
        # How many bytes are in it is not noted: its model may have it, and change it.
        _free_in_slices(owner, pieces, None)
    if (loop := asyncio._get_running_loop()) is not None:
        # To let go of the references takes a turn, and there is much else to do in the one in which it is answered.
        loop.call_later(_LATER_S, _let_go, owner)


# --- freeing ------------------------------------------------------------------------------------------------------

# By the id of the array that has the elements: a reference to it, and how many bytes are in its elements, if that is
# certain.
_known: dict[int, tuple["weakref.ref[Array]", int | None]] = {}


def content_bytes_of(array: Array) -> int | None:
    """How many bytes are in all elements of a tensor that was read here; None for another one."""
    owner = _owner(array)
    found = _known.get(id(owner))
    if found is None or found[0]() is not owner or owner.size != array.size:
        return None
    return found[1]


def _owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _free_in_slices(array: Array, pieces: Pieces, content_bytes: int | None) -> None:
    """Once the array is gone, free its elements, which are those of `pieces`, in slices on the running loop. What is
    freed with the array is only the references to them.
    """
    loop = asyncio._get_running_loop()
    number = id(array)

    def gone(_: object) -> None:
        # On whatever thread it was let go.
        _known.pop(number, None)
        if loop is not None and not loop.is_closed():
            # It may be closed just now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_free, loop, deque(pieces))
        pieces.clear()

    _known[number] = weakref.ref(array, gone), content_bytes


def _let_go(_: Array) -> None:
    """It was held until now."""


def _free(loop: asyncio.AbstractEventLoop, pieces: deque[Array]) -> None:
    for _ in range(min(_FREED_AT_ONCE, len(pieces))):
        pieces.popleft()
    if pieces:
        loop.call_soon(_free, loop, pieces)
