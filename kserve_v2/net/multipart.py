"""Forms in multipart/form-data (RFC 7578): the parts of a body that is there, within limits.

The parser is python-multipart's. It reads headers byte by byte, so what would keep it busy is refused first.
"""

import logging
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from kserve_v2.errors import InvalidArgumentError

MAX_PARTS = 100
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 1024

# RFC 2046, section 5.1.1.
_MAX_BOUNDARY_BYTES = 70
# Empty lines before the first part, which some programs write.
_PREAMBLE_BYTES = 16

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


def read_form(body: bytes, boundary: str) -> list[Part]:
    """The parts of a form, in their order. Raises InvalidArgumentError for what is none, is cut off, or is beyond the
    limits.
    """
    if not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES or not boundary.isascii():
        raise InvalidArgumentError(
            f"the form's Content-Type needs a boundary of 1 to {_MAX_BOUNDARY_BYTES} characters, got {boundary[:80]!r}"
        )
    delimiter = b"--" + boundary.encode()
    found = body.count(delimiter)
    if not body[: len(delimiter) + _PREAMBLE_BYTES].lstrip(b"\r\n").startswith(delimiter):
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
    try:
        parser.write(body)
    except FormParserError as error:
        raise InvalidArgumentError(f"the form cannot be read: {error}") from None
    if not reading.complete:
        raise InvalidArgumentError("the form is cut off: the boundary that ends it is missing")
    return reading.parts


@dataclass(slots=True)
class _Reading:
    """Takes what the parser finds."""

    parts: list[Part] = field(default_factory=list)
    complete: bool = False
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _data: list[memoryview] = field(default_factory=list)

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

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(memoryview(data)[start:end])

    def end_part(self) -> None:
        part = self.parts[-1]
        if not part.name:
            raise InvalidArgumentError(
                f"field {len(self.parts)} of the form has no name: its Content-Disposition needs one"
            )
        part.data = b"".join(self._data)
        self._data.clear()

    def end(self) -> None:
        self.complete = True
