"""Forms in multipart/form-data (RFC 7578): the parts of a body that is there, within limits.

The parser is python-multipart's. It reads headers byte by byte, so what would keep it busy is refused first. Forms may
be large, so they are read in slices: those who have small ones read them in one go.
"""

import logging
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import ParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from kserve_v2.errors import InvalidArgumentError

MAX_PARTS = 100
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 1024

SLICE_BYTES = 256 * 1024
"""How much of a form is read in a slice."""

# RFC 2046, section 5.1.1.
_MAX_BOUNDARY_BYTES = 70
# Empty lines before the first part, which some programs write.
_PREAMBLE_BYTES = 16

# RFC 7578 has no such parameter, but there are clients that write names this way which are not ASCII (RFC 5987); the
# parser passes it over.
_EXTENDED_FILENAME = re.compile(rb""";[ \t]*filename\*[ \t]*=[ \t]*"?[^';]*'[^';]*'([^";]*)""", re.IGNORECASE)

# It logs what is wrong with a form; here the client is told.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(slots=True)
class Part:
    """A field of a form. `filename`: None for a field that is no file. `charset`: "" where it says none."""

    name: str = ""
    filename: str | None = None
    content_type: str = ""
    charset: str = ""
    data: bytes = b""
    encoding: str = ""
    """What its Content-Transfer-Encoding says."""


def media_type(header: bytes) -> tuple[str, dict[str, str]]:
    """The type that a Content-Type header names, in lower case, and its parameters."""
    kind, options = parse_options_header(header)
    return kind.decode("latin-1").strip(), {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in options.items()
    }


def read_form(
    body: bytes | bytearray | memoryview, boundary: str, slice_bytes: int = SLICE_BYTES
) -> Generator[None, None, list[Part]]:
    """The parts of a form, in their order, read in slices. Raises InvalidArgumentError for what is none, is cut off, or
    is beyond the limits.
    """
    if not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES or not boundary.isascii():
        raise InvalidArgumentError(
            f"the form's Content-Type needs a boundary of 1 to {_MAX_BOUNDARY_BYTES} characters, got {boundary[:80]!r}"
        )
    delimiter, view = b"--" + boundary.encode(), memoryview(body)
    found = yield from _count(view, delimiter, MAX_PARTS + 2, slice_bytes)
    if not bytes(view[: len(delimiter) + _PREAMBLE_BYTES]).lstrip(b"\r\n").startswith(delimiter):
        raise InvalidArgumentError(
            f"the form does not begin with the boundary that its Content-Type names, {boundary!r}"
        )
    if found > MAX_PARTS + 1:
        raise InvalidArgumentError(f"the form has more than {MAX_PARTS} fields")
    reading = _Reading()
    parser = MultipartParser(
        delimiter[2:],
        {
            "on_part_begin": reading.begin_part,
            "on_header_field": reading.header_name,
            "on_header_value": reading.header_value,
            "on_header_end": reading.end_header,
            "on_part_data": reading.part_data,
            "on_part_end": reading.end_part,
            "on_end": reading.end,
        },
        max_header_count=MAX_PART_HEADERS,
        max_header_size=MAX_PART_HEADER_BYTES,
    )
    for at in range(0, len(view), slice_bytes):
        try:
            parser.write(bytes(view[at : at + slice_bytes]))
        except ParseError as error:
            raise InvalidArgumentError(f"the form cannot be read: {_told(error, at)}") from None
        yield
    if not reading.complete:
        raise InvalidArgumentError("the form is cut off: the boundary that ends it is missing")
    return reading.parts


def _count(view: memoryview, delimiter: bytes, most: int, slice_bytes: int) -> Generator[None, None, int]:
    """How often a delimiter is in a body; `most` if it is more often."""
    found = at = 0
    while at < len(view) and found < most:
        piece = bytes(view[at : at + slice_bytes + len(delimiter) - 1])
        behind = 0
        while found < most and (begin := piece.find(delimiter, behind)) >= 0:
            found, behind = found + 1, begin + len(delimiter)
        at += max(behind, slice_bytes)
        yield
    return found


def _told(error: ParseError, at: int) -> str:
    """What the parser says of a piece that begins `at` there, with the place in the whole form."""
    said = str(error)
    for place in ("at {}", "({})"):
        local = place.format(error.offset)
        if said.endswith(local):
            return said.removesuffix(local) + place.format(at + error.offset)
    return said


@dataclass(slots=True)
class _Reading:
    """Takes what the parser finds."""

    parts: list[Part] = field(default_factory=list)
    complete: bool = False
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _data: BytesIO = field(default_factory=BytesIO)

    def begin_part(self) -> None:
        self.parts.append(Part())

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        part, name, value = self.parts[-1], bytes(self._name).lower(), bytes(self._value)
        self._name.clear()
        self._value.clear()
        if name == b"content-disposition":
            self._read_disposition(part, value)
        elif name == b"content-type":
            part.content_type, options = media_type(value)
            part.charset = options.get("charset", "").lower()
        elif name == b"content-transfer-encoding":
            part.encoding = value.decode("latin-1").strip().lower()

    def _read_disposition(self, part: Part, value: bytes) -> None:
        _, options = parse_options_header(value)
        try:
            part.name = options.get(b"name", b"").decode()
        except UnicodeDecodeError:
            raise InvalidArgumentError(
                f"the name of field {len(self.parts)} of the form is not UTF-8: {options[b'name']!r}"
            ) from None
        if b"filename" in options:
            part.filename = options[b"filename"].decode(errors="replace")
        elif extended := _EXTENDED_FILENAME.search(value):
            part.filename = unquote_to_bytes(extended[1].strip()).decode(errors="replace")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.write(memoryview(data)[start:end])

    def end_part(self) -> None:
        part = self.parts[-1]
        if not part.name:
            raise InvalidArgumentError(
                f"field {len(self.parts)} of the form has no name: its Content-Disposition needs one"
            )
        # It hands out what it has gathered, and copies nothing.
        part.data = self._data.getvalue()
        self._data = BytesIO()

    def end(self) -> None:
        self.complete = True
