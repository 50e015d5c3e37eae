"""A picture of what was loaded, a bar each, and of the results that have a target: how far each is from it."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from math import log2
from typing import NamedTuple

from benchmarks.result import Line, Row, Target

_WIDTH, _LABEL_WIDTH = 980, 520
_GOOD, _BAD, _GREY, _TEXT = "#1b7f4b", "#b3261e", "#767676", "#202020"

_BARS_LEFT, _BARS_WIDTH = 230, 520
_BAR_HEIGHT, _GROUP_GAP = 20, 14
_BAR_COLOURS = {"server": _GOOD, "bare protocol": "#8a8f98"}
_OTHER_COLOUR = "#c3c7ce"

_LINE_HEIGHT, _AXIS_HEIGHT = 26, 44
_LEAST, _MOST = 0.25, 4.0
_TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)


class _Mark(NamedTuple):
    """One line: margins over the target, 1 being the target itself."""

    label: str
    low: float
    median: float
    high: float


def svg(rows: Sequence[Row], lines: Sequence[Line]) -> str:
    """Bars of throughput by server and connections; below, a point with its range for each row that has a target."""
    bars, bars_height = _bars([line for line in lines if line.load.endswith(("connection", "connections"))])
    marks = _marks(rows)
    top = bars_height + 30
    height = top + _AXIS_HEIGHT + _LINE_HEIGHT * len(marks) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        *bars,
        _title(top, "Results as multiples of their targets; right of the line is better"),
        *(_tick(value, top, height) for value in _TICKS),
        *(_line(top + _AXIS_HEIGHT + _LINE_HEIGHT * number, mark) for number, mark in enumerate(marks)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(y: int, text: str) -> str:
    return f'<text x="12" y="{y}" font-weight="bold" fill="{_TEXT}">{escape(text)}</text>'


def _bars(lines: Sequence[Line]) -> tuple[list[str], int]:
    """Bars in groups of one protocol and load; and where they end."""
    parts, y = [_title(24, "Requests per second, lowest to highest of the rounds as a line")], 44
    longest = max((line.per_second.high for line in lines), default=1.0)
    for (protocol, load), group in groupby(lines, lambda line: (line.protocol, line.load)):
        middle, members = y, [*group]
        parts.append(f'<text x="12" y="{middle + 14}" fill="{_TEXT}">{escape(f"{protocol}, {load}")}</text>')
        for line in members:
            parts += _bar(line, y, _BARS_WIDTH / longest)
            y += _BAR_HEIGHT
        y += _GROUP_GAP
    return parts, y


def _bar(line: Line, y: int, scale: float) -> Iterator[str]:
    rate = line.per_second
    colour = _BAR_COLOURS.get(line.server, _OTHER_COLOUR)
    end, middle = _BARS_LEFT + rate.median * scale, y + (_BAR_HEIGHT - 4) / 2
    low, high = (_BARS_LEFT + value * scale for value in (rate.low, rate.high))
    cpu = "" if line.cpu_us is None else f", {line.cpu_us.median:.0f} us CPU"
    text = f"{line.server}: {rate.median:,.0f}{cpu}"
    yield (
        f'<rect x="{_BARS_LEFT}" y="{y}" width="{end - _BARS_LEFT:.1f}" height="{_BAR_HEIGHT - 4}" fill="{colour}"/>'
    )
    yield (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{_TEXT}" stroke-width="1.5"/>'
    )
    yield f'<text x="{max(end, high) + 6:.1f}" y="{y + 13}" fill="{_TEXT}" font-size="12">{escape(text)}</text>'


def _marks(rows: Sequence[Row]) -> list[_Mark]:
    return [
        _Mark(
            f"{row.case}: {row.measure}",
            *_margins(row.target, row.result.low, row.result.median, row.result.high),
        )
        for row in rows
        if row.target is not None and row.result is not None
    ]


def _margins(target: Target, low: float, median: float, high: float) -> list[float]:
    """The margins of the three numbers, the worst first and the best last."""
    worst, best = sorted((target.margin(low), target.margin(high)))
    return [worst, target.margin(median), best]


def _x(margin: float) -> float:
    """Horizontal position, on a logarithmic scale that ends at the outer ticks."""
    part = log2(min(max(margin, _LEAST), _MOST) / _LEAST) / log2(_MOST / _LEAST)
    return _LABEL_WIDTH + part * (_WIDTH - _LABEL_WIDTH - 30)


def _tick(value: float, top: int, height: int) -> str:
    text = "target" if value == 1 else f"{value:g} x"
    dash = "" if value == 1 else ' stroke-dasharray="2 4"'
    x = f"{_x(value):.1f}"
    return (
        f'<text x="{x}" y="{top + 22}" text-anchor="middle" fill="{_GREY}">{text}</text>'
        f'<line x1="{x}" x2="{x}" y1="{top + 30}" y2="{height - 8}" stroke="{_GREY}"{dash}/>'
    )


def _line(top: int, mark: _Mark) -> str:
    y = top + 6
    colour = _GOOD if mark.median >= 1 else _BAD
    return (
        f'<text x="{_LABEL_WIDTH - 12}" y="{y + 4}" text-anchor="end" font-size="12">{escape(mark.label)}</text>'
        f'<line x1="{_x(mark.low):.1f}" x2="{_x(mark.high):.1f}" y1="{y}" y2="{y}" '
        f'stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{_x(mark.median):.1f}" cy="{y}" r="5" fill="{colour}"/>'
    )
