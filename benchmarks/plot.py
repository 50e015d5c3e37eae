"""A picture of the results that have a target: how far each is on the good side of it."""

from collections.abc import Sequence
from html import escape
from math import log2
from typing import NamedTuple

from benchmarks.result import Row, Target

_WIDTH, _LABEL_WIDTH, _LINE_HEIGHT, _TOP = 980, 520, 26, 44
_LEAST, _MOST = 0.25, 4.0
_TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)
_GOOD, _BAD, _GREY = "#1b7f4b", "#b3261e", "#767676"


class _Mark(NamedTuple):
    """One line: margins over the target, 1 being the target itself."""

    label: str
    low: float
    median: float
    high: float


def svg(rows: Sequence[Row]) -> str:
    """A point with its range for each row that has a target."""
    marks = [
        _Mark(
            f"{row.case}: {row.measure}",
            *_margins(row.target, row.result.low, row.result.median, row.result.high),
        )
        for row in rows
        if row.target is not None and row.result is not None
    ]
    height = _TOP + _LINE_HEIGHT * len(marks) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        *(_tick(value, height) for value in _TICKS),
        *(_line(number, mark) for number, mark in enumerate(marks)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _margins(target: Target, low: float, median: float, high: float) -> list[float]:
    """The margins of the three numbers, the worst first and the best last."""
    worst, best = sorted((target.margin(low), target.margin(high)))
    return [worst, target.margin(median), best]


def _x(margin: float) -> float:
    """Horizontal position, on a logarithmic scale that ends at the outer ticks."""
    part = log2(min(max(margin, _LEAST), _MOST) / _LEAST) / log2(_MOST / _LEAST)
    return _LABEL_WIDTH + part * (_WIDTH - _LABEL_WIDTH - 30)


def _tick(value: float, height: int) -> str:
    text = "target" if value == 1 else f"{value:g} x"
    dash = "" if value == 1 else ' stroke-dasharray="2 4"'
    return (
        f'<text x="{_x(value):.1f}" y="20" text-anchor="middle" fill="{_GREY}">{text}</text>'
        f'<line x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="28" y2="{height - 8}" stroke="{_GREY}"{dash}/>'
    )


def _line(number: int, mark: _Mark) -> str:
    y = _TOP + _LINE_HEIGHT * number + 6
    colour = _GOOD if mark.median >= 1 else _BAD
    return (
        f'<text x="{_LABEL_WIDTH - 12}" y="{y + 4}" text-anchor="end">{escape(mark.label)}</text>'
        f'<line x1="{_x(mark.low):.1f}" x2="{_x(mark.high):.1f}" y1="{y}" y2="{y}" '
        f'stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{_x(mark.median):.1f}" cy="{y}" r="5" fill="{colour}"/>'
    )
