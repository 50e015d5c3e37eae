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
        lines = [f"# HELP {self.name} {_escape_help(self.help)}", f"# TYPE {self.name} {self.kind}"]
        for suffix, labels, value in self.samples:
            pairs = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
            lines.append(f"{self.name}{suffix}{{{pairs}}} {number(value)}")
        return "\n".join(lines) + "\n"


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
