"""JSON text to Python values: the protocol's dialect, with a limit on its depth."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

from kserve_v2.errors import InvalidArgumentError

# Triton refuses JSON with this many levels.
_MAX_DEPTH = 100
TOO_DEEP = f"JSON nesting depth exceeds maximum allowed limit ({_MAX_DEPTH})"
EMPTY = "The document is empty. at 0"

# The JSON before binary tensors is shorter than this. Searching longer texts for their end would take too long.
_MAX_LEADING_BYTES = 64 * 1024

# From this size on, what is plainly no JSON is told in the words of orjson. To find the place again, Python's parser
# takes most of a second for some MiB.
_LARGE_BYTES = 256 * 1024

# Of a long text. As far as no escape is cut in two, nor a pair of them; and a character that is, in UTF-8.
_PIECE_BYTES = 64 * 1024
_WHOLE_ESCAPES = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB]..\\u....|\\u(?![dD][89abAB])....|\\[^u])*+", re.DOTALL
)
_PART_OF_CHARACTER = re.compile(rb"[\xc0-\xff][\x80-\xbf]*\Z")
_CHARACTER_BYTES = 4

LITERALS = re.compile(rb"NaN|Infinity")
"""What only Python's parser knows."""
_LITERAL_LETTERS = ("N", "I")

_CONTAINERS = frozenset({dict, list})


def parse_json(body: bytes | bytearray | memoryview, length: int | None = None) -> Any:
    """Parse the JSON at the start of `body`, of `length` bytes or as long as the body.

    NaN and infinities are accepted as bare literals. Raises InvalidArgumentError that says where it fails.
    """
    whole = length is None or length == len(body)
    text = body if whole and not isinstance(body, memoryview) else bytes(memoryview(body)[:length])
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        document = parse_unusual_json(bytes(text), error)
    check_depth(document, text)
    return document


def parsed(body: bytes | bytearray | memoryview, document: Any = None) -> Any:
    """The JSON that a body is: `document` if that has been made of it already, or the error if it is one. Raises as
    `parse_json`.
    """
    if isinstance(document, InvalidArgumentError):
        raise document
    return parse_json(body) if document is None else document


def parse_object(body: bytes | bytearray | memoryview, document: Any = None) -> dict[str, Any]:
    """As `parsed`, of what has to be an object."""
    document = parsed(body, document)
    if not isinstance(document, dict):
        raise InvalidArgumentError("attempt to get members for non-object: the body must be a JSON object")
    return document


def check_depth(document: Any, text: bytes | bytearray) -> None:
    """Raise InvalidArgumentError if lists and objects of the document in `text` are nested too deeply."""
    if not (_has_many(text, b"[") or _has_many(text, b"{")):
        return
    level = [document]
    for _ in range(_MAX_DEPTH - 1):
        children: list[Any] = []
        for container in level:
            values = container.values() if type(container) is dict else container
            if not _CONTAINERS.isdisjoint(map(type, values)):
                children += [value for value in values if type(value) in _CONTAINERS]
        if not children:
            return
        level = children
    raise unparsable(TOO_DEEP)


def _has_many(text: bytes | bytearray, bracket: bytes) -> bool:
    """Whether there are as many as to be half of too deep. In a long text, to find one after the other takes much less
    time than to count all.
    """
    position = -1
    for _ in range(_MAX_DEPTH // 2):
        position = text.find(bracket, position + 1)
        if position < 0:
            return False
    return True


def parse_unusual_json(text: bytes, error: orjson.JSONDecodeError) -> Any:
    """What orjson does not take, with that `error`: what only Python's parser takes, and errors. However deeply it is
    nested.
    """
    if len(text) >= _LARGE_BYTES and is_plainly_none(text, error):
        raise unparsable(f"{error.msg} at {error.pos}")
    if text.startswith(codecs.BOM_UTF8):
        text = text[len(codecs.BOM_UTF8) :]
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    if not json.detect_encoding(text).startswith("utf-8"):
        raise unparsable("it is not UTF-8, but looks like UTF-16 or UTF-32")
    try:
        # Decoded first: given bytes, Python would guess the encoding.
        document = json.loads(text.decode(), parse_int=_integer, parse_float=_float)
        if b"\\u" in text:
            # An escape can spell half a surrogate pair, which no answer could repeat.
            json.dumps(document, ensure_ascii=False).encode()
        return document  # noqa: TRY300 - every other way out of here is an error
    except json.JSONDecodeError as found:
        reason = f"{found.msg.removesuffix(' at')} at {found.pos}" if text.strip() else EMPTY
    except UnicodeDecodeError as found:
        reason = f"invalid UTF-8 at {found.start}"
    except UnicodeEncodeError:
        reason = "The surrogate pair in string is invalid."
    except RecursionError:
        reason = TOO_DEEP
    except (OverflowError, ValueError):
        # ValueError: Python refuses to read integers of thousands of digits.
        reason = "Number too big to be stored in double."
    raise unparsable(reason)


def is_plainly_none(text: bytes | bytearray, error: orjson.JSONDecodeError) -> bool:
    """Whether no other parser would take an object for JSON either. (What does not begin as one, or is not UTF-8, may
    be in an encoding of its own.)
    """
    begins = text[:64].lstrip()
    return (
        begins.startswith(b"{")
        and b"\0" not in begins
        and error.doc != ""
        and error.doc[error.pos : error.pos + 1] not in _LITERAL_LETTERS
        and not error.msg.startswith("depth ")
    )


def leading_object_bytes(text: bytes | bytearray | memoryview) -> int:
    """Where the JSON object at the start of `text` ends, whatever follows it; 0 if there is none, or a long one."""
    try:
        # In this encoding every byte is a character.
        document, end = json.JSONDecoder().raw_decode(bytes(text[:_MAX_LEADING_BYTES]).decode("latin-1"))
    except (RecursionError, ValueError):
        return 0
    return end if isinstance(document, dict) else 0


def letters_of(text: memoryview) -> Iterator[str]:
    """What a long text says, which is given as it stands in JSON without its quotes, in pieces. Raises ValueError where
    orjson would not take it.
    """
    at = 0
    while at < len(text):
        piece = bytes(text[at : at + _PIECE_BYTES])
        if at + len(piece) < len(text):
            whole = _WHOLE_ESCAPES.match(piece) if b"\\" in piece else None
            piece = whole_characters(piece[: whole.end()] if whole else piece)
        if not piece:
            raise ValueError
        yield orjson.loads(b'"%b"' % piece)
        at += len(piece)


def whole_characters(piece: bytes) -> bytes:
    """A piece of a text, without the last character, which may be cut in two."""
    part = _PART_OF_CHARACTER.search(piece, len(piece) - _CHARACTER_BYTES)
    return piece[: part.start()] if part else piece


def _integer(text: str) -> int | float:
    """What does not fit into 64 bits is a float, as it is for orjson. Raises OverflowError for what is none either."""
    value = int(text)
    return value if -(2**63) <= value < 2**64 else float(value)


def _float(text: str) -> float:
    """As orjson and Triton, and unlike Python, raises OverflowError for numbers that a double cannot hold."""
    value = float(text)
    if math.isinf(value):
        raise OverflowError(text)
    return value


def unparsable(reason: str) -> InvalidArgumentError:
    """The error for what is no JSON."""
    return InvalidArgumentError(f"failed to parse the request JSON buffer: {reason}")
