"""Prometheus' text format, version 0.0.4.

The text is written here because client libraries append `_total` to the names of counters, which Triton's do
not have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = Mapping[str, str]

# Up to here every whole number has a form of its own as a float.
_EXACT = 2**53


@dataclass(slots=True)
class Family:
    """One metric: its samples share name, type and help."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)

    def add(self, labels: Labels, value: float, suffix: str = "") -> None:
        """Add one sample; `suffix` is what a histogram's samples append to the name."""
        self.samples.append((suffix, labels, value))

    def text(self) -> str:
        """The family in Prometheus' text format."""
        return self.head() + self.lines()

    def head(self) -> str:
        """What stands in front of its samples."""
        return f"# HELP {self.name} {_escape_help(self.help)}\n# TYPE {self.name} {self.kind}\n"

    def lines(self) -> str:
        """A line for each sample."""
        return "".join(map(self._line, self.samples))

    def _line(self, sample: tuple[str, Labels, float]) -> str:
        suffix, labels, value = sample
        pairs = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        return f"{self.name}{suffix}{{{pairs}}} {number(value)}\n"


def number(value: float) -> str:
    """A value of a sample, and a bound of a bucket."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return f"{value:.0f}" if value.is_integer() and abs(value) <= _EXACT else repr(value)


def _escape(text: str) -> str:
    return _escape_help(text).replace('"', r"\"")


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
