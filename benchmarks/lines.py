"""A picture of how numbers go on: one line for each series, on axes of their own scale."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 980, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 230, 40, 40
_COLOURS = ("#1b7f4b", "#b3261e", "#2457a6", "#a66a00", "#6b3fa0", "#007a87", "#767676")

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Points by the name of the line."""


def svg(charts: Mapping[str, tuple[Series, str, str]]) -> str:
    """Charts one below the other. By title: the series, and what is on the axes."""
    height = _HEIGHT * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, (series, x_axis, y_axis)) in enumerate(charts.items()):
        parts += _chart(_HEIGHT * number, title, series, x_axis, y_axis)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(top: int, title: str, series: Series, x_axis: str, y_axis: str) -> Iterator[str]:
    points = [point for line in series.values() for point in line]
    most_x = max((x for x, _ in points), default=0) or 1
    most_y = 1.1 * (max((y for _, y in points), default=0) or 1)
    right, bottom = _WIDTH - _RIGHT, top + _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> str:
        across, up = x / most_x * (right - _LEFT), y / most_y * (_HEIGHT - _TOP - _BOTTOM)
        return f"{_LEFT + across:.1f},{bottom - up:.1f}"

    yield f'<text x="12" y="{top + 22}" font-weight="bold">{escape(title)}</text>'
    yield f'<path d="M{_LEFT},{top + _TOP} V{bottom} H{right}" fill="none" stroke="#767676"/>'
    yield f'<text x="{_LEFT - 6}" y="{top + _TOP + 10}" text-anchor="end">{most_y:,.0f}</text>'
    yield f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0 {escape(y_axis)}</text>'
    yield f'<text x="{right}" y="{bottom + 18}" text-anchor="end">{most_x:,.0f} {escape(x_axis)}</text>'
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(place(x, y) for x, y in line)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        y = top + _TOP + 16 * number + 10
        yield f'<text x="{right + 14}" y="{y}" fill="{colour}">{escape(name)}</text>'
