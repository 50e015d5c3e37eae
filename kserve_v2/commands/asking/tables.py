"""Tables for people: with lines and colours on a terminal, columns of text elsewhere."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from kserve_v2.commands.output import say
from kserve_v2.logs.terminal import terminal
from kserve_v2.plain_text import in_a_line

_STYLES = {"READY": "green", "UNAVAILABLE": "bold red", "LOADING": "yellow", "UNLOADING": "yellow"}


def show_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    environ: Mapping[str, str],
    numbers: Sequence[int] = (),
) -> None:
    """Print a table. `numbers`: the columns with numbers, which stand at the right."""
    cells = [[in_a_line(cell) for cell in row] for row in rows]
    if terminal(sys.stdout, environ).animated:
        console().print(rich_table(head, cells, numbers))
    else:
        say(plain_table(head, cells, numbers))


def console() -> Any:
    """Standard output, for rich."""
    from rich.console import Console  # noqa: PLC0415 - it is large

    return Console(highlight=False)


def rich_table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> Any:
    """A table as rich prints it. What servers say is text, and no markup."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for index, name in enumerate(head):
        table.add_column(Text(name), justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return table


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    """Columns that are as wide as they have to be."""
    lines = [head, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(head))]

    def cell(text: str, index: int) -> str:
        return text.rjust(widths[index]) if index in numbers else text.ljust(widths[index])

    return "\n".join(
        "  ".join(cell(text, index) for index, text in enumerate(line)).rstrip() for line in lines
    )
