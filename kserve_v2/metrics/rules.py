"""What names, labels and buckets of a model's own metrics may be. Texts are those of Triton, and of the library that
it has its metrics from, where there are such.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from kserve_v2.errors import InvalidArgumentError

KINDS = ("counter", "gauge", "histogram")

OWN_PREFIXES = ("nv_", "kserve_v2_")
"""What the names of the server's own metrics begin with."""

SUFFIXES = ("_bucket", "_sum", "_count")
"""Of a histogram's samples."""

_NAME = re.compile(r"(?!__)[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
# Enough for anything that a person would tell apart.
_MAX_SHOWN = 100


def check_name(name: str) -> None:
    """Raise InvalidArgumentError unless a model may have a family of that name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgumentError(f"Invalid metric name: expected letters, digits and _, got {_shown(name)}")
    if name.startswith(OWN_PREFIXES):
        raise InvalidArgumentError(
            f"Invalid metric name: those that begin with {' or '.join(OWN_PREFIXES)} are the server's own, "
            f"got {_shown(name)}"
        )


def check_description(text: str) -> None:
    """Raise InvalidArgumentError unless it can be shown."""
    _check_text("the description of a metric", text)


def check_kind(kind: str) -> None:
    """Raise InvalidArgumentError unless it is one of `KINDS`."""
    if kind not in KINDS:
        raise InvalidArgumentError(
            f"Unsupported kind passed to MetricFamily constructor: expected {', '.join(KINDS)}, got {_shown(kind)}"
        )


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """A copy of the labels, in the order of their names. Raises InvalidArgumentError."""
    if not isinstance(labels, Mapping):
        raise InvalidArgumentError("Failed to create metric. Labels must be a dictionary.")
    copied = dict(labels)
    for name, text in copied.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            raise InvalidArgumentError(f"Invalid label name: {_shown(name)}")
        if not isinstance(text, str):
            raise InvalidArgumentError(
                f"Parameter [{name}] must have a type of TRITONSERVER_PARAMETER_STRING to be added as a label."
            )
        _check_text(f"the value of label '{name}'", text)
    return {name: copied[name] for name in sorted(copied)}


def checked_bounds(buckets: Iterable[float] | None) -> tuple[float, ...] | None:
    """The upper bounds of a histogram's buckets, without the infinite one. Raises InvalidArgumentError."""
    if buckets is None:
        return None
    bounds = tuple(map(checked_value, buckets))
    if bounds and bounds[-1] == math.inf:
        bounds = bounds[:-1]
    rising = all(low < high for low, high in itertools.pairwise(bounds))
    if not rising or not all(map(math.isfinite, bounds)):
        raise InvalidArgumentError(f"Bucket Boundaries must be sorted, and finite: got {list(bounds)}")
    return bounds


def check_bounds_of(kind: str, labels: Mapping[str, str], bounds: tuple[float, ...] | None) -> None:
    """Raise InvalidArgumentError unless a metric of that kind can have these."""
    if kind != "histogram":
        if bounds is not None:
            raise InvalidArgumentError(f"Unexpected args found in {kind} Metric constructor.")
    elif bounds is None:
        raise InvalidArgumentError("Bucket boundaries not found in Metric args.")
    elif "le" in labels:
        raise InvalidArgumentError("Invalid label name: 'le' is that of a histogram's buckets")


def checked_value(value: object) -> float:
    """A number of a metric. Raises InvalidArgumentError."""
    try:
        if not isinstance(value, str | bytes):
            return float(cast(float, value))
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidArgumentError(f"the value of a metric must be a number, got {_shown(value)}")


def sample_names(name: str, kind: str) -> Iterator[str]:
    """The names that a family takes: for itself, and for its samples."""
    yield name
    if kind == "histogram":
        yield from (name + suffix for suffix in SUFFIXES)


def _check_text(what: str, text: str) -> None:
    if not isinstance(text, str):
        raise InvalidArgumentError(f"{what} must be a string, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} has no form in UTF-8: {_shown(text)}") from None


def _shown(value: object) -> str:
    return ascii(value)[:_MAX_SHOWN]
