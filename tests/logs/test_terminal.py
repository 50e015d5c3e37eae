"""What a stream can show, and how wide a text is there."""

import io
import os
import pty
import struct
from collections.abc import Iterator
from typing import TextIO

import pytest

from kserve_v2.logs.terminal import PLAIN, Style, Terminal, cut, terminal, width_of

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")


@pytest.fixture
def screen() -> Iterator[TextIO]:
    """A terminal of 60 columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    with open(its, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        yield stream
    os.close(ours)


@pytest.mark.parametrize(
    ("environ", "coloured", "animated"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, False),
        ({}, False, False),
    ],
)
def test_a_terminal(screen: TextIO, environ: dict[str, str], coloured: bool, animated: bool) -> None:
    assert terminal(screen, environ) == Terminal(60, coloured, animated, symbols=True)


@pytest.mark.parametrize(("columns", "width"), [("100", 100), ("5", 30), ("x", 60), ("0", 60)])
def test_columns_outweigh_what_the_terminal_says(screen: TextIO, columns: str, width: int) -> None:
    assert terminal(screen, {"TERM": "xterm", "COLUMNS": columns}).width == width


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm", "COLUMNS": "40"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_what_is_no_terminal_has_neither_width_nor_movement(environ: dict[str, str], coloured: bool) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert terminal(stream, environ) == Terminal(None, coloured, False, symbols=False)


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert terminal(stream, {"TERM": "xterm"}) == PLAIN


def test_nothing_is_painted_without_colours() -> None:
    assert PLAIN.paint("x", Style.BAD) == "x"
    assert Terminal(coloured=True).paint("x", Style.GOOD) == "\x1b[32mx\x1b[0m"
    assert Terminal(coloured=True).paint("", Style.GOOD) == ""


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("modèle", 6), ("mode\u0300le", 6), ("数字", 4), ("", 0)]
)
def test_the_width_of_a_text(text: str, width: int) -> None:
    assert width_of(text) == width


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abcdef", 6, "abcdef"), ("abcdef", 3, "abc"), ("数字数字", 5, "数字"), ("abc", 0, "")],
)
def test_a_text_is_cut(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected
