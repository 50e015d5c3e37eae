"""Where each field stands in the text of a configuration, by its path: `input[0].dims[1]`, `parameters['isolation']`.

The parser of protobuf says where something is malformed; what is wrong with a value that can be read is found later,
when nothing is known of the text any more.
"""

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from kserve_v2._generated._pool import POOL
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.skip import CLOSING, OPENING, STRING, after_gap, block_ends, field_end, scalar_end

_NAME = re.compile(r"[\w.]+")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# What may come behind a field's name.
_MORE = re.compile(r"(?:\s|#[^\n]*)*[:{<]")
_LAST_PART = re.compile(r"(?:\.?[^.\[]+|\[\d+\]|\['[^']*'\])$")


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column of a text, both from 1. A column counts characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where a field stands: its name, and all up to the end of its value."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that its message does not have. `message`: by its full name."""

    message: str
    name: str
    start: int
    end: int


@dataclass(slots=True)
class Places:
    """The fields of one text. `spans`: in the order in which they end. `balanced`: whether every bracket has its other
    half, without which nothing behind it is certain. `unclosed`: the innermost bracket that has not. `unknown`: what
    looks like a field and is none, in the order of the text; not what lies within others of these.
    """

    spans: list[Span] = field(default_factory=list)
    balanced: bool = True
    unclosed: Place | None = None
    unknown: list[UnknownField] = field(default_factory=list)
    _offsets: dict[str, int] = field(default_factory=dict)
    _line_starts: list[int] = field(default_factory=lambda: [0])

    def of(self, path: str) -> Place | None:
        """Where a field is written; None where it is not."""
        offset = self._offsets.get(path)
        return None if offset is None else self.place(offset)

    def nearest(self, path: str) -> Place | None:
        """Where a field is written or, if it is not, the one that it would stand in."""
        while path:
            if (found := self.of(path)) is not None:
                return found
            path = _parent(path)
        return None

    def paths(self) -> list[str]:
        """Of all that is written."""
        return list(self._offsets)

    def around(self, line: int, column: int) -> Span | None:
        """The innermost field at a place."""
        offset = self._line_starts[line - 1] + column - 1 if line <= len(self._line_starts) else -1
        inside = [span for span in self.spans if span.start <= offset < span.end]
        return min(inside, key=lambda span: span.end - span.start, default=None)

    def place(self, offset: int) -> Place:
        """Of a character."""
        line = bisect_right(self._line_starts, offset)
        return Place(line, offset - self._line_starts[line - 1] + 1)


def _parent(path: str) -> str:
    """`input[0].dims` of `input[0].dims[1]`, then `input[0]`, then `input`; the last one has none."""
    return _LAST_PART.sub("", path)


def find_places(text: str) -> Places:
    """Find the fields of a ModelConfig in protobuf text format. Of a malformed text, those up to there."""
    return _Reader(text).places


class _Reader:
    """Walks one text along the schema."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._blocks = block_ends(text)
        self.places = Places(
            _line_starts=[0, *(found.end() for found in re.finditer("\n", text))],
        )
        self._whole = self.places
        self._fields(ModelConfig.DESCRIPTOR, "")
        if self._peek():
            self._whole.balanced = False

    def _peek(self) -> str:
        """The next character that is no gap; "" at the end."""
        self._position = after_gap(self._text, self._position)
        return self._text[self._position : self._position + 1]

    def _fields(self, message: Descriptor, prefix: str) -> None:
        """Those of one message, up to a closing bracket or the end."""
        counts: Counter[str] = Counter()
        while (character := self._peek()) and character not in CLOSING:
            start = self._position
            name = _NAME.match(self._text, start)
            if name is None:
                self._position += 1
                continue
            known = message.fields_by_name.get(name[0])
            if known is None:
                self._position = max(field_end(self._text, start, self._blocks), name.end())
                if _IDENTIFIER.fullmatch(name[0]) and _MORE.match(self._text, name.end()):
                    unknown = UnknownField(message.full_name, name[0], start, self._position)
                    self._whole.unknown.append(unknown)
            else:
                self._position = name.end()
                self._value(known, prefix, start, counts)
            self.places.spans.append(Span(prefix + name[0], start, self._position))

    def _value(self, known: FieldDescriptor, prefix: str, start: int, counts: Counter[str]) -> None:
        """Everything behind a field's name."""
        if self._peek() == ":":
            self._position += 1
        path = prefix + known.name
        self._note(path, start)
        if self._peek() != "[" or not (_repeated(known) or _is_map(known)):
            self._element(known, path, start, counts)
            return
        opening = self._position
        self._position += 1
        while (character := self._peek()) and character not in CLOSING:
            if character == ",":
                self._position += 1
            else:
                self._element(known, path, self._position, counts)
        self._close(opening)

    def _element(self, known: FieldDescriptor, path: str, start: int, counts: Counter[str]) -> None:
        """One value: of a list, one of many."""
        entry = known.message_type
        if entry is not None and _is_map(known):
            self._entry(entry, path, start)
            return
        if _repeated(known):
            path = f"{path}[{counts[known.name]}]"
            counts[known.name] += 1
            self._note(path, start)
        if entry is None:
            before = self._position
            self._position = scalar_end(self._text, before)
            if self._text[before : self._position] == "-":
                self._position = scalar_end(self._text, after_gap(self._text, self._position))
            self._position = max(self._position, before + 1)
        else:
            self._block(entry, f"{path}.")

    def _entry(self, entry: Descriptor, path: str, start: int) -> None:
        """One entry of a map, whose key may stand behind its value."""
        outer, self.places = self.places, Places()
        self._block(entry, "")
        inner, self.places = self.places, outer
        outer.spans += inner.spans
        key = next((self._key(span) for span in inner.spans if span.path == "key"), "")
        path = f"{path}['{key}']"
        self._note(path, start)
        for name, offset in inner._offsets.items():
            if name.startswith("value."):
                self._note(path + name.removeprefix("value"), offset)

    def _key(self, span: Span) -> str:
        """The key that is written there, as it stands in a path."""
        text = self._text[span.start : span.end].removeprefix("key").lstrip().removeprefix(":")
        try:
            if STRING.search(text) is None:
                return str(int(text, 0))
            return text_format.Parse(f"name: {text}", ModelConfig(), descriptor_pool=POOL).name
        except (text_format.ParseError, ValueError):
            return ""

    def _block(self, message: Descriptor, prefix: str) -> None:
        """A message in its brackets."""
        character = self._peek()
        if character not in tuple(OPENING):
            # Whatever stands there is passed over, so that the next thing is another one.
            step = 1 if character and character not in CLOSING else 0
            self._position = max(scalar_end(self._text, self._position), self._position + step)
            return
        opening = self._position
        self._position += 1
        self._fields(message, prefix)
        self._close(opening)

    def _close(self, opening: int) -> None:
        """Pass over the other half of the bracket at `opening`."""
        character = self._peek()
        if not character:
            self._whole.balanced = False
            self._whole.unclosed = self._whole.unclosed or self._whole.place(opening)
        self._position += len(character)

    def _note(self, path: str, offset: int) -> None:
        self.places._offsets.setdefault(path, offset)


def _repeated(known: FieldDescriptor) -> bool:
    # Asked of a message: how descriptors say it is not the same in all versions of protobuf.
    return hasattr(getattr(GetMessageClass(known.containing_type)(), known.name), "extend")


def _is_map(known: FieldDescriptor) -> bool:
    return known.message_type is not None and bool(known.message_type.GetOptions().map_entry)
