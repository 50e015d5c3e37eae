"""Charts as pictures, by matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kserve_v2.bench.charts import COLOURS, Chart
from kserve_v2.bench.errors import BenchUsageError

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Before anything is measured: raise BenchUsageError if there will be no picture."""
    if path.suffix.lower() not in FORMATS:
        raise BenchUsageError(f"--plot {path}: expected a name that ends in {', '.join(FORMATS)}")
    _matplotlib()


def draw(charts: Sequence[Chart], path: Path) -> None:
    """Write the charts below each other into one file. Raises OSError."""
    figure_of = _matplotlib()
    figure = figure_of(figsize=(9, 4.5 * len(charts)), layout="constrained")
    for axes, chart in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
        _chart(axes, chart)
    figure.savefig(path)


def _chart(axes: Any, chart: Chart) -> None:
    for number, series in enumerate(chart.series):
        style = "o-" if series.line else "o"
        colour = COLOURS[number % len(COLOURS)]
        xs, ys = [x for x, _ in series.points], [y for _, y in series.points]
        axes.plot(xs, ys, style, color=colour, label=series.name)
        if series.line:
            for (x, y), label in zip(series.points, series.labels, strict=False):
                axes.annotate(
                    label, (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8, color=colour
                )
    if chart.limit:
        value, name = chart.limit
        axes.axhline(value, color="#b3261e", linestyle="--", label=name)
    axes.set_title(chart.title, loc="left", fontweight="bold")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e3e3e3")
    if len(chart.series) > 1 or chart.limit:
        axes.legend()


def _matplotlib() -> Any:
    """Its figures, without a display."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - it is large, and an extra
    except ImportError:
        raise BenchUsageError(
            "--plot needs matplotlib: pip install matplotlib (--html needs nothing)"
        ) from None
    return Figure
