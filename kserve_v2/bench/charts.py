"""Line charts as SVG, for pages that must not load anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

COLOURS = ("#1b7f4b", "#2f5fb3", "#b3261e", "#8a5a00", "#6b3fa0", "#00707a")

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 24, 44, 54
_GREY, _TEXT = "#767676", "#202020"
_TICKS = 5
_LABEL_ROOM = 90
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind. `labels`: beside each point, if there are any. `line`: whether they are joined."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()
    line: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """`limit`: a line across, with its name."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    limit: tuple[float, str] | None = None


def svg(chart: Chart) -> str:
    """The chart, both axes from 0."""
    points = [point for each in chart.series for point in each.points]
    scale = _Scale(
        axis(max((x for x, _ in points), default=1.0)),
        axis(max([*(y for _, y in points), chart.limit[0] if chart.limit else 0.0])),
    )
    described = escape(f"{chart.title}: {chart.y_label} by {chart.x_label}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{described}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _words(_LEFT, 22, chart.title, weight="bold", size=14),
        *_axes(chart, scale),
        *(part for number, each in enumerate(chart.series) for part in _drawn(each, number, scale)),
        *_legend(chart.series),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def axis(largest: float) -> list[float]:
    """Ticks from 0 to at least the largest value, at round numbers."""
    if largest <= 0:
        largest = 1.0
    raw = largest / _TICKS
    magnitude = 10.0 ** floor(log10(raw))
    step = next(each * magnitude for each in _STEPS if each * magnitude >= raw * (1 - 1e-9))
    return [number * step for number in range(ceil(largest / step - 1e-9) + 1)]


class _Scale:
    """From values to places."""

    def __init__(self, x_ticks: list[float], y_ticks: list[float]) -> None:
        self.x_ticks, self.y_ticks = x_ticks, y_ticks

    def x(self, value: float) -> float:
        return _LEFT + value / self.x_ticks[-1] * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - value / self.y_ticks[-1] * (_HEIGHT - _TOP - _BOTTOM)


def _axes(chart: Chart, scale: _Scale) -> Iterator[str]:
    right, bottom = scale.x(scale.x_ticks[-1]), scale.y(0)
    for value in scale.y_ticks:
        yield _stroke(_LEFT, scale.y(value), right, scale.y(value), "#e3e3e3")
        yield _words(_LEFT - 8, scale.y(value) + 4, f"{value:,g}", anchor="end", colour=_GREY)
    for value in scale.x_ticks:
        yield _words(scale.x(value), bottom + 18, f"{value:,g}", anchor="middle", colour=_GREY)
    yield _stroke(_LEFT, bottom, right, bottom, _GREY)
    yield _words((_LEFT + right) / 2, _HEIGHT - 12, chart.x_label, anchor="middle")
    middle = (scale.y(0) + scale.y(scale.y_ticks[-1])) / 2
    yield (
        f'<text x="16" y="{middle:.1f}" text-anchor="middle" fill="{_TEXT}" '
        f'transform="rotate(-90 16 {middle:.1f})">{escape(chart.y_label)}</text>'
    )
    if chart.limit:
        value, name = chart.limit
        yield _stroke(_LEFT, scale.y(value), right, scale.y(value), "#b3261e", dash="6 4")
        yield _words(right, scale.y(value) - 5, name, anchor="end", colour="#b3261e")


def _drawn(series: Series, number: int, scale: _Scale) -> Iterator[str]:
    colour = COLOURS[number % len(COLOURS)]
    places = [(scale.x(x), scale.y(y)) for x, y in series.points]
    if series.line and len(places) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for place, (x, y) in enumerate(places):
        label = series.labels[place] if place < len(series.labels) else ""
        told = f"<title>{escape(label)}</title>" if label else ""
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{told}</circle>'
        if label and series.line:
            # On the side where there is room.
            anchor, shift = ("end", -6) if x > _WIDTH - _RIGHT - _LABEL_ROOM else ("start", 6)
            yield _words(x + shift, y - 6, label, anchor=anchor, colour=colour, size=11)


def _legend(series: Sequence[Series]) -> Iterator[str]:
    if len(series) < 2:
        return
    for number, each in enumerate(series):
        y = _TOP + 14 + 18 * number
        yield f'<circle cx="{_LEFT + 14}" cy="{y - 4}" r="4" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield _words(_LEFT + 24, y, each.name)


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'


def _words(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = _TEXT,
    weight: str = "normal",
    size: int = 12,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}" '
        f'font-size="{size}">{escape(text)}</text>'
    )
