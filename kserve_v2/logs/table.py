"""Tables of text: a frame of ASCII, aligned columns, cells that are wrapped where the terminal is narrow."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType

from kserve_v2.logs.terminal import PLAIN, Style, Terminal, width_of

# A column is not made narrower than that.
_MIN_COLUMN = 8

NO_STYLES: Mapping[str, Style] = MappingProxyType({})


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    terminal: Terminal = PLAIN,
    *,
    shrinking: Sequence[int] = (),
    styles: Mapping[str, Style] = NO_STYLES,
) -> str:
    """A table with frame and aligned columns; a cell may have several lines. `shrinking`: columns that are wrapped if
    the terminal is narrow, in this order. `styles`: of cells, by what is in them.
    """
    cells = [[cell.split("\n") for cell in row] for row in (header, *rows)]
    widths = _widths(cells)
    over = sum(widths) + 3 * len(widths) + 1 - terminal.width if terminal.width is not None else 0
    for column in shrinking:
        if over > 0:
            room = max(widths[column] - over, _MIN_COLUMN)
            for row in cells:
                row[column] = [part for line in row[column] for part in _wrap(line, room)]
            narrower = _widths(cells)[column]
            over, widths[column] = over - widths[column] + narrower, narrower
    rule = terminal.paint("+" + "+".join("-" * (width + 2) for width in widths) + "+", Style.QUIET)
    bar = terminal.paint("|", Style.QUIET)
    lines = []
    for number, row in enumerate(cells):
        for texts in zip_longest(*row, fillvalue=""):
            shown = [
                _styled(text, Style.HEADING if number == 0 else styles.get(text), terminal)
                + " " * (width - width_of(text))
                for text, width in zip(texts, widths, strict=True)
            ]
            lines.append(f"{bar} {f' {bar} '.join(shown)} {bar}")
    return "\n".join([rule, lines[0], rule, *lines[1:], rule] if rows else [rule, lines[0], rule])


def _widths(cells: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    return [max(width_of(line) for row in cells for line in row[column]) for column in range(len(cells[0]))]


def _wrap(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width) or [""]


def _styled(text: str, style: Style | None, terminal: Terminal) -> str:
    return text if style is None else terminal.paint(text, style)
