"""Requests that differ from an earlier one in nothing but their id and the contents of their tensors.

Nearly all do. A form says of such requests which bytes are the same in all of them, and where the gaps are between
these: the same bytes in the same places mean the same, so only what is in the gaps is decoded. Whoever makes a form
answers for that: each gap is a whole value of the message's grammar, and the rest was seen to be right.

A form may decline any request, which then is decoded in full. It never fails one, nor gives anything else for it: it is
kept only once it was seen to give, of the very message that it was made from, what the codec has made of that.
"""

import struct
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.remembered import Remembered
from kserve_v2.messages import InferRequest, same_request
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BYTES, Array

T = TypeVar("T")

Data = bytes | memoryview

MAX_FIXED_BYTES = 4096
"""Requests of which more is the same than this are decoded each time."""

MAX_ALIKE = 64
"""Forms with one key, such as one for each number of rows."""

MAX_BEGIN_ALIKE = 16
"""Those of them that begin alike: they are tried one after the other."""

MAX_REMEMBERED_BYTES = 4 * 1024 * 1024
"""The most memory that the forms of one front end may take together."""

# Roughly what a form takes on top of its bytes, and a gap.
_OVERHEAD_BYTES = 2048
_GAP_BYTES = 512

# In a message that is not copied, a mark is looked for in so many bytes.
_NEAR_BYTES = 64 * 1024

# What makes a form decline: a value that is not what it was, or cut off. The first is how codecs refuse one.
_DECLINED = (InvalidArgumentError, ValueError, TypeError, IndexError, OverflowError, struct.error)

Place = Callable[[Data, int], tuple[int, int]]
"""Says of a message, and where the bytes before a gap end, where the gap begins and ends."""


class Gap(NamedTuple):
    """What may differ. `before`: the bytes that precede it, `fixed` of them. `place`: how many bytes it has, or what
    finds it. `name`: of the input that `read` makes of it; None for the request's id. What both raise is one of
    `_DECLINED`.
    """

    before: bytes
    fixed: int
    place: int | Place
    name: str | None
    read: Callable[[Data], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Form(Generic[T]):
    """What requests have in common. Compared by identity. `last`: the bytes behind the last gap. `noted` is one of them
    without tensors, checked against `signature`. `wanted`: what else its codec has read in it.
    """

    gaps: tuple[Gap, ...]
    last: bytes
    noted: InferRequest
    signature: ModelSignature
    wanted: T

    @property
    def start(self) -> bytes:
        """What all of them begin with."""
        return self.gaps[0].before if self.gaps else self.last

    @property
    def fixed_bytes(self) -> int:
        """How much is the same in all of them."""
        return sum(gap.fixed for gap in self.gaps) + len(self.last)

    @property
    def nbytes(self) -> int:
        """About what it takes."""
        return self.fixed_bytes + _OVERHEAD_BYTES + _GAP_BYTES * len(self.gaps)

    def request(self, data: Data) -> InferRequest | None:
        """The request, checked, for whoever has the form's signature. None if it is not of this form. Tensors may be
        views of a message that is a memoryview.
        """
        inputs: dict[str, Array] = {}
        noted = self.noted
        request_id = noted.id
        position = 0
        try:
            for before, fixed, place, name, read in self.gaps:
                start = position + fixed
                if data[position:start] != before:
                    return None
                if type(place) is int:
                    position = start + place
                else:
                    start, position = place(data, start)  # type: ignore[operator]
                if name is None:
                    request_id = read(data[start:position])
                else:
                    inputs[name] = read(data[start:position])
        except _DECLINED:
            return None
        last = self.last
        if position + len(last) != len(data) or data[position:] != last:
            return None
        return InferRequest(
            noted.model_name, inputs, noted.model_version, request_id, requested_outputs=noted.requested_outputs,
            checked=True, rows=noted.rows, batch_key=noted.batch_key,
        )  # fmt: skip


def until(mark: bytes, skipped: int, behind: int) -> Place:
    """A gap that ends `behind` bytes after the first `mark` that is `skipped` bytes after its start, or later."""

    def place(data: Data, start: int) -> tuple[int, int]:
        found = start + skipped
        # Views have no `index`, and there is none in what is far.
        found = (
            data.index(mark, found)
            if type(data) is bytes
            else bytes(data[found : found + _NEAR_BYTES]).index(mark) + found
        )
        end = found + behind
        if end <= start:
            raise ValueError
        return start, end

    return place


class Alike(Generic[T]):
    """Forms with one key. They are told apart by how their messages begin, which most often says the shapes."""

    __slots__ = ("_by_start", "_in_use", "_lengths")

    def __init__(self) -> None:
        # In each, the one that was used last comes first.
        self._by_start: dict[bytes, deque[Form[T]]] = {}
        self._lengths: list[int] = []
        # By age: the first is the one that has not been used for longest.
        self._in_use: dict[Form[T], None] = {}

    def __len__(self) -> int:
        return len(self._in_use)

    @property
    def nbytes(self) -> int:
        """About what they take."""
        return sum(form.nbytes for form in self._in_use)

    def find(self, data: Data) -> tuple[Form[T], InferRequest] | None:
        """The request in `data`, and the form by which it was read."""
        for length in self._lengths:
            # Bytes already, but where a message is not copied.
            forms = self._by_start.get(bytes(data[:length]))
            if forms is None:
                continue
            for form in forms:
                request = form.request(data)
                if request is not None:
                    self._use(form, forms)
                    return form, request
        return None

    def _use(self, form: Form[T], forms: deque[Form[T]]) -> None:
        """It is forgotten last, and tried first next time."""
        self._in_use[form] = self._in_use.pop(form)
        if forms[0] is not form:
            forms.remove(form)
            forms.appendleft(form)

    def add(self, form: Form[T]) -> None:
        """Keep a form, and no more than there may be."""
        start = form.start
        forms = self._by_start.setdefault(start, deque())
        forms.appendleft(form)
        self._in_use[form] = None
        if len(forms) > MAX_BEGIN_ALIKE:
            self.remove(forms[-1])
        elif len(self) > MAX_ALIKE:
            self.remove(next(iter(self._in_use)))
        self._lengths = sorted({len(each) for each in self._by_start}, reverse=True)

    def remove(self, form: Form[T]) -> None:
        """Forget a form."""
        del self._in_use[form]
        forms = self._by_start[form.start]
        forms.remove(form)
        if not forms:
            del self._by_start[form.start]


class Forms(Generic[T]):
    """The forms of the requests that came last, of all connections of a front end."""

    def __init__(self) -> None:
        self._known: Remembered[Hashable, Alike[T]] = Remembered(MAX_REMEMBERED_BYTES)

    @property
    def nbytes(self) -> int:
        """About what all of them take."""
        return self._known.nbytes

    def find(self, key: Hashable, data: Data) -> tuple[Form[T], InferRequest] | None:
        """The request in `data`, and the form by which it was read. It is for whoever has the form's signature."""
        alike = self._known[key]
        return None if alike is None else alike.find(data)

    def note(
        self,
        key: Hashable,
        data: Data,
        request: InferRequest,
        signature: ModelSignature,
        make: Callable[[], Form[T] | None],
    ) -> None:
        """Note the form of a request that was decoded from `data` and checked against `signature`: `make` gives it.

        Not at its first time. As whatever is noted is worth it only if it comes again, and to find out costs more than
        to decode, it is tried at the 2nd, 4th, 8th … time that such a request was not recognised.
        """
        if not may_recur(request):
            return
        looks = tuple((name, array.dtype.num, array.shape) for name, array in request.inputs.items())
        times = self._known.sightings((key, signature, looks, request.requested_outputs, not request.id))
        if times < 2 or times & times - 1:
            return
        form = make()
        if form is None or not gives(form, data, request):
            return
        alike = self._known[key] or Alike()
        outdated = alike.find(data)
        if outdated is not None:
            alike.remove(outdated[0])
        alike.add(form)
        self._known.keep(key, alike, alike.nbytes)


def may_recur(request: InferRequest) -> bool:
    """Whether nothing but its id and its tensors makes a request what it is. Strings are not for forms: they cost more
    to read than all around them.
    """
    return not (
        request.parameters
        or request.control
        or request.packed is not None
        or any(array.dtype == BYTES.dtype for array in request.inputs.values())
    )


def gives(form: Form[T], data: Data, request: InferRequest) -> bool:
    """Whether a form gives the very request that it was made from, and is short enough."""
    if form.fixed_bytes > MAX_FIXED_BYTES:
        return False
    again = form.request(data)
    return again is not None and same_request(again, request)


def bare(request: InferRequest) -> InferRequest:
    """The request as a form keeps it."""
    return replace(request, inputs={})


def raw_reader(dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> Callable[[Data], Array]:
    """Reads the bytes of a tensor, as `tensors.raw.array_over` does. A slice of `bytes` is an aligned copy."""

    def read(data: Data) -> Array:
        array: Array = np.ndarray(shape, dtype, data)
        return array if type(data) is bytes or array.flags.aligned else array.copy()

    return read
