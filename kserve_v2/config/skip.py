"""Where a field of protobuf text format ends: needed to skip one that cannot be read."""

import re
from collections.abc import Mapping

_GAP = re.compile(r"(?:\s|#[^\n]*)*")
STRING = re.compile(r"""(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""")
# What is neither a gap, a string nor a bracket: numbers, identifiers, punctuation.
_WORD = re.compile(r"""[^\s#"'{}<>\[\],;:]+|[,;:]""")
# What may stand between fields, once, and means nothing.
_SEPARATOR = re.compile(rf"{_GAP.pattern}[,;]")
OPENING, CLOSING = "{<[", "}>]"


def blank_field(text: str, line: int, column: int) -> str:
    """Replace the field whose name begins at `line` and `column` (both from 1) by spaces. The parser reads what follows
    and reports what is malformed.
    """
    start = _offset(text, line, column)
    return blank(text, (start, field_end(text, start, block_ends(text))))


def blank(text: str, *parts: tuple[int, int]) -> str:
    """Replace fields of a text, from start to end, in their order, by spaces, and the comma or semicolon behind each,
    which the parser does not take for one between others. Line breaks stay, so later positions stay true.
    """
    pieces, position = [], 0
    for start, value_end in parts:
        separator = _SEPARATOR.match(text, value_end)
        end = separator.end() if separator else value_end
        pieces += [text[position:start], re.sub(r"[^\n]", " ", text[start:end])]
        position = end
    return "".join([*pieces, text[position:]])


def _offset(text: str, line: int, column: int) -> int:
    # The parser splits lines at "\n" only.
    before = text.split("\n", line)[: line - 1]
    return sum(len(row) + 1 for row in before) + column - 1


def field_end(text: str, start: int, blocks: Mapping[int, int]) -> int:
    """Return the offset after the field at `start`: its name, `:` if any, and a bracketed block or a scalar. `blocks`:
    see `block_ends`. A bracket that nothing closes is an end: the parser then refuses it, and nothing behind it is lost
    unseen.
    """
    name = re.compile(r"[\w.+-]+").match(text, start)
    position = after_gap(text, name.end() if name else start + 1)
    if text[position : position + 1] == ":":
        position = after_gap(text, position + 1)
    if text[position : position + 1] in tuple(OPENING):
        return blocks.get(position, position)
    return scalar_end(text, position)


def after_gap(text: str, position: int) -> int:
    """Return the offset of the next character that is neither white space nor in a comment."""
    gap = _GAP.match(text, position)
    return gap.end() if gap else position


def scalar_end(text: str, position: int) -> int:
    """Return the offset after one number or identifier, or after adjacent strings, which make one value."""
    word = _WORD.match(text, position)
    if word:
        return word.end()
    while string := STRING.match(text, position):
        position = string.end()
        following = after_gap(text, position)
        if not STRING.match(text, following):
            break
        position = following
    return position


def block_ends(text: str) -> dict[int, int]:
    """Return the offset after the bracket that closes it for each that is closed, by its own offset. One pass for all
    of them: whoever looked for each end by itself would read deep nests again for every level.
    """
    ends: dict[int, int] = {}
    openings: list[int] = []
    position = 0
    while position < len(text):
        character = text[position]
        token = STRING.match(text, position) or _WORD.match(text, position)
        end = token.end() if token else position + 1
        if character in OPENING:
            openings.append(position)
        elif character in CLOSING and openings:
            ends[openings.pop()] = end
        position = after_gap(text, end)
    return ends
