"""Statistics as plain numbers, for other processes: what was counted in one is added to what is counted in another."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from kserve_v2.scheduling.statistics import BatchReason, BatchStatistics, FailureReason, ModelStatistics

Counts = dict[str, int]
"""By the path of each number: `success_count`, `fail.ns`, `batches.8.reasons.full`, `waited.counts.3`."""

LAST_MS = "last_inference_ms"
"""The one that is no count: of two, the later holds."""

# What is no count: a setting, and what somebody watches. `padded` has a lock of its own.
_NOT_COUNTED = frozenset({"chosen_delay_ns", "latencies", "responses", LAST_MS, "padded"})
_REASONS = {str(reason): reason for reason in (*FailureReason, *BatchReason)}
_PADDED = ("given", "padding")


def counts_of(statistics: ModelStatistics) -> Counts:
    """All that is not 0. Only of a model that answers each request once: positions in streams are left out."""
    counts = {path: number for path, number in _numbers(statistics, "") if number}
    if statistics.padded is not None:
        counts |= {f"padded.{name}": getattr(statistics.padded, name) for name in _PADDED}
    return counts


def since(counts: Counts, before: Mapping[str, int]) -> Counts:
    """What has been counted since."""
    return {
        path: number - before.get(path, 0) for path, number in counts.items() if number != before.get(path, 0)
    }


def add_counts(statistics: ModelStatistics, counts: Mapping[str, int], last_ms: int) -> None:
    """Count what another process has counted. `last_ms`: when its last execution has ended."""
    statistics.last_inference_ms = max(statistics.last_inference_ms, last_ms)
    padding = {name: counts.get(f"padded.{name}", 0) for name in _PADDED}
    if statistics.padded is not None and any(padding.values()):
        statistics.padded.add(**padding)
    for path, number in counts.items():
        place, *rest = path.split(".")
        if place not in _NOT_COUNTED:
            _add(statistics, place, rest, number)


def _numbers(value: Any, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, int):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _numbers(each, f"{path}.{key}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _numbers(each, f"{path}.{place}")
    elif is_dataclass(value):
        for field in fields(value):
            if path or field.name not in _NOT_COUNTED:
                yield from _numbers(
                    getattr(value, field.name), f"{path}.{field.name}" if path else field.name
                )


def _add(holder: Any, place: str, rest: list[str], number: int) -> None:
    """Add to what is at that place of an object, a list or a map, or further down."""
    if isinstance(holder, dict | list):
        key = _key(holder, place)
        if rest:
            _add(_made(holder, key), rest[0], rest[1:], number)
        else:
            holder[key] += number
    elif rest:
        _add(getattr(holder, place), rest[0], rest[1:], number)
    else:
        setattr(holder, place, getattr(holder, place) + number)


def _key(holder: dict[Any, Any] | list[Any], place: str) -> Any:
    """The maps that there are have batch sizes and reasons for keys."""
    return int(place) if place.isdecimal() else _REASONS[place]


def _made(holder: Any, key: Any) -> Any:
    """What is at a key; of a batch size that was not executed here, nothing yet."""
    if isinstance(holder, dict) and key not in holder:
        holder[key] = BatchStatistics()
    return holder[key]
