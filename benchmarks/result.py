"""What a case finds out: numbers with their spread over the rounds, beside what was hoped for."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """One number per round, reduced to median, lowest and highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of at least one value."""
        listed = list(values)
        return cls(median(listed), min(listed), max(listed))


@dataclass(frozen=True, slots=True)
class Target:
    """What a result has to reach: at least, or at most, `limit`."""

    kind: Literal["at least", "at most"]
    limit: float

    def margin(self, value: float) -> float:
        """How far `value` is on the good side of the limit: 1 is the limit, more is better for both kinds."""
        better, worse = (value, self.limit) if self.kind == "at least" else (self.limit, value)
        return better / worse if worse > 0 else float("inf")

    def met(self, value: float) -> bool:
        """Whether `value` reaches the target."""
        return value >= self.limit if self.kind == "at least" else value <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `server` and `yardstick` are in `unit`; `result` is what the target speaks of, in `result_unit` ("x" for a
    ratio of the two, taken within each round). `note`: what a reader needs to understand the line.
    """

    case: str
    measure: str
    unit: str
    server: Spread | None = None
    yardstick: Spread | None = None
    result: Spread | None = None
    result_unit: str = "x"
    target: Target | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table of everything that was loaded: one server, over one protocol, under one load.

    `cpu_us`: CPU time of the server's process per request. `mean_batch`: rows of the mean execution. None: not known.
    """

    protocol: str
    server: str
    load: str
    per_second: Spread
    p50_us: Spread
    p99_us: Spread
    p999_us: Spread | None
    cpu_us: Spread | None = None
    mean_batch: Spread | None = None


def ratio_row(
    case: str,
    measure: str,
    unit: str,
    pairs: Iterable[tuple[float, float]],
    target: Target | None = None,
    note: str = "",
) -> Row:
    """A row from (server, yardstick) pairs, one a round: the result is the spread of their ratios."""
    listed = list(pairs)
    return Row(
        case,
        measure,
        unit,
        server=Spread.of(server for server, _ in listed),
        yardstick=Spread.of(yardstick for _, yardstick in listed),
        result=Spread.of(server / yardstick for server, yardstick in listed),
        target=target,
        note=note,
    )
