"""Large JSON that is none: what is wrong with it is found without reading all of it in one go.

While a text is read in slices, all that stands before some place is known to be right. A few brackets and marks stand
for it, and of those and what follows, the parsers say what they would say of the whole.
"""

import codecs
from collections.abc import Iterable
from typing import Any

import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.text import EMPTY, LITERALS, TOO_DEEP, is_plainly_none, unparsable
from kserve_v2.scheduling.slices import COPIED_BYTES, SLICE_BYTES, Slices

# So much of what follows is looked at. Where it is cut off, nothing may be wrong near that.
_TAIL_BYTES = SLICE_BYTES
_NEAR_END = 64
_LITERAL_BYTES = 8


class BrokenError(Exception):
    """A large text seems to be no JSON."""

    def __init__(
        self,
        text: bytes | bytearray,
        at: int,
        before: Iterable[bytes | bytearray | memoryview] = (),
        *,
        only_texts: bool = False,
    ) -> None:
        """What stands before the place `at` is right, and `before` stands for it. `only_texts`: where it differs, these
        are texts.
        """
        super().__init__(at)
        self.text = text
        self.at = at
        self.before = b"".join(before)
        self.only_texts = only_texts


def list_may_follow(before: Iterable[bytes | memoryview]) -> bool:
    """Whether a list may begin behind the beginning of JSON, which may end in the middle of a text."""
    # In a text, the quote would be its end, with something behind it.
    error = _error_in(b"".join((*before, b'["a')))
    return error is not None and error.pos == len(error.doc)


def or_error(slices: Slices[Any]) -> Slices[Any]:
    """What slices end with. Where they raise BrokenError, what `parse_json` raises for the text; None if that is to be
    asked.
    """
    try:
        return (yield from slices)
    except BrokenError as broken:
        return (yield from _error(broken))


def _error(broken: BrokenError) -> Slices[InvalidArgumentError | None]:
    text, at = broken.text, broken.at
    if not at and (yield from _is_blank(text)):
        return unparsable(EMPTY)
    end = at + _TAIL_BYTES
    tail = text[at:end].decode(errors="ignore").encode()
    error = _error_in(broken.before + tail)
    if error is None or not is_plainly_none(text, error):
        return unparsable(TOO_DEEP) if error is not None and error.msg.startswith("depth ") else None
    ahead = len(error.doc) - len(tail.decode())
    if not ahead <= error.pos <= len(error.doc) - (_NEAR_END if end < len(text) else 0):
        return None
    yield
    right = yield from _characters(text, 0, at)
    others = yield from _characters(text, at, len(text))
    if right is None or others is None:
        return None
    for begin in range(0, 0 if broken.only_texts else at, SLICE_BYTES):
        # Of the whole, orjson would say that such a literal is wrong.
        if LITERALS.search(text, begin, min(at, begin + SLICE_BYTES + _LITERAL_BYTES)):
            return None
        yield
    return unparsable(f"{error.msg} at {right + error.pos - ahead}")


def _is_blank(text: bytes | bytearray) -> Slices[bool]:
    for at in range(0, len(text), COPIED_BYTES):
        if not text[at : at + COPIED_BYTES].isspace():
            return False
        yield
    return True


def _error_in(text: bytes) -> orjson.JSONDecodeError | None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return error
    return None


def _characters(text: bytes | bytearray, begin: int, end: int) -> Slices[int | None]:
    """How many there are in a part of a text; None if it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    count = 0
    for at in range(begin, end, SLICE_BYTES):
        upto = min(end, at + SLICE_BYTES)
        try:
            count += len(decoder.decode(text[at:upto], upto == end))
        except UnicodeDecodeError:
            return None
        yield
    return count
