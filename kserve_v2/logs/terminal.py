"""What a stream of text can show: colours, a cursor that moves, how many characters in a line."""

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

# Narrower than this, nothing readable is left of a table: lines are longer than the terminal then.
_MIN_WIDTH = 30
ERASE_LINE = "\r\x1b[K"


class Style(Enum):
    """How a text is to look; the values are SGR parameters."""

    GOOD = "32"
    BAD = "1;31"
    CHANGING = "33"
    HEADING = "1"
    QUIET = "2"
    LINK = "36"


@dataclass(frozen=True, slots=True)
class Terminal:
    """One stream. `width`: characters in a line; None for what is no terminal: nothing is wrapped there. `animated`:
    whether a line may be drawn over the one before. `symbols`: whether there is more than ASCII.
    """

    width: int | None = None
    coloured: bool = False
    animated: bool = False
    symbols: bool = False

    def paint(self, text: str, style: Style) -> str:
        """The text in a style, if there are any."""
        return f"\x1b[{style.value}m{text}\x1b[0m" if self.coloured and text else text


PLAIN = Terminal()
"""A pipe, or a file: text and nothing else."""


def terminal(stream: TextIO, environ: Mapping[str, str]) -> Terminal:
    """What a stream can show. NO_COLOR and FORCE_COLOR outweigh what it is, in this order, unless they are empty; a
    terminal that says it is dumb gets neither colours nor anything that moves.
    """
    symbols = "utf" in (getattr(stream, "encoding", None) or "").lower()
    forced = environ.get("FORCE_COLOR", "") not in ("", "0") and not environ.get("NO_COLOR")
    try:
        shown = stream.isatty()
    except ValueError:  # closed
        shown = False
    if not shown:
        return Terminal(coloured=forced, symbols=symbols)
    clever = environ.get("TERM", "") not in ("", "dumb")
    coloured = forced or (clever and not environ.get("NO_COLOR"))
    return Terminal(_width(stream, environ), coloured, clever, symbols)


def _width(stream: TextIO, environ: Mapping[str, str]) -> int | None:
    """None where nobody knows."""
    try:
        columns = int(environ.get("COLUMNS", "0"))
    except ValueError:
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
    return max(columns, _MIN_WIDTH) if columns > 0 else None


def width_of(text: str) -> int:
    """How many cells of a terminal a line takes: letters of East Asia take two, and marks above letters none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def cut(text: str, width: int) -> str:
    """As much of a line as there is room for."""
    while width_of(text) > width:
        text = text[: max(len(text) - max((width_of(text) - width) // 2, 1), 0)]
    return text
