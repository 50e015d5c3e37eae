"""A candidate in a configuration: in the message, and in the user's text with all else as it is."""

from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import ConfigError, parse_config
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.config.places import find_places
from kserve_v2.config.switches import SPLIT_LARGE_REQUESTS
from kserve_v2.tuning.candidate import DEFAULT_THREADS, NO_BATCHING, OWN_CHOICE, Candidate

MARK = "# kserve-v2 analyze: "
"""Begins the line that says where a file comes from."""


class Wanted(NamedTuple):
    """What a candidate means. `start`: the current one, of which nothing is changed that is the same. `budget_ms`: for
    the server that chooses its delay. `splits`: larger requests are executed in parts now, and are to be then.
    """

    candidate: Candidate
    start: Candidate
    thread_parameter: str
    budget_ms: float | None
    splits: bool


class _Change(NamedTuple):
    """A scalar field: its path, and its value as text; None to take it away."""

    path: str
    value: str | None


def changed_config(written: ModelConfig, wanted: Wanted) -> ModelConfig:
    """The configuration with the candidate's values in place of its own."""
    config = ModelConfig()
    config.CopyFrom(written)
    new, old = wanted.candidate, wanted.start
    if new.max_batch_size != old.max_batch_size:
        config.max_batch_size = new.max_batch_size
        if wanted.splits:
            config.parameters[SPLIT_LARGE_REQUESTS].string_value = "true"
    if new.delay_us != old.delay_us:
        if new.delay_us == NO_BATCHING:
            config.ClearField("dynamic_batching")
        else:
            config.dynamic_batching.SetInParent()
            config.dynamic_batching.max_queue_delay_microseconds = max(0, new.delay_us)
        config.parameters.pop(LATENCY_BUDGET_MS, None)
        if new.delay_us == OWN_CHOICE and wanted.budget_ms is not None:
            config.parameters[LATENCY_BUDGET_MS].string_value = f"{wanted.budget_ms:g}"
    if new.instances != old.instances:
        group = config.instance_group[0] if config.instance_group else config.instance_group.add()
        group.count = new.instances
    if new.threads != old.threads:
        config.parameters.pop(wanted.thread_parameter, None)
        if new.threads != DEFAULT_THREADS:
            config.parameters[wanted.thread_parameter].string_value = str(new.threads)
    return config


def changed_text(text: str, wanted: Wanted, remark: str) -> str:
    """The text with the same changes, its comments and all other fields as they are, and the remark in the first line.
    Where that cannot be done, the configuration is written anew, without comments. Raises ConfigError for a text that
    is no configuration.
    """
    config = changed_config(parse_config(text, "config.pbtxt"), wanted)
    lines = [line for line in text.split("\n") if not line.startswith(MARK)]
    edited = "\n".join(lines)
    for change in _changes(wanted, edited):
        edited = _edited(edited, change)
    try:
        kept = parse_config(edited, "config.pbtxt") == config
    except ConfigError:
        kept = False
    head = f"{MARK}{remark}\n"
    return head + edited if kept else head + str(text_format.MessageToString(config))


def _changes(wanted: Wanted, text: str) -> Sequence[_Change]:
    new, old = wanted.candidate, wanted.start
    changes: list[_Change] = []
    if new.max_batch_size != old.max_batch_size:
        changes.append(_Change("max_batch_size", str(new.max_batch_size)))
        if wanted.splits:
            changes.append(_parameter(SPLIT_LARGE_REQUESTS, "true"))
    if new.delay_us != old.delay_us:
        if new.delay_us == NO_BATCHING:
            changes.append(_Change("dynamic_batching", None))
        else:
            changes.append(
                _Change("dynamic_batching.max_queue_delay_microseconds", str(max(0, new.delay_us)))
            )
        told = f"{wanted.budget_ms:g}" if new.delay_us == OWN_CHOICE else None
        changes.append(_parameter(LATENCY_BUDGET_MS, told))
    if new.instances != old.instances:
        changes.append(_Change("instance_group[0].count", str(new.instances)))
    if new.threads != old.threads:
        told = None if new.threads == DEFAULT_THREADS else str(new.threads)
        changes.append(_parameter(wanted.thread_parameter, told))
    return changes


def _parameter(name: str, value: str | None) -> _Change:
    path = f"parameters['{name}']"
    return _Change(path, None) if value is None else _Change(f"{path}.string_value", f'"{value}"')


def _edited(text: str, change: _Change) -> str:
    """With one change; the field is where it was, or in its block, or at the end."""
    parent, _, leaf = change.path.rpartition(".")
    span = _span(text, change.path)
    if change.value is None:
        return text if span is None else _without(text, *span)
    if span is not None:
        return f"{text[: span[0]]}{leaf}: {change.value}{text[span[1] :]}"
    block = _span(text, parent) if parent else None
    opening = -1 if block is None else text.find("{", *block)
    if opening >= 0:
        return f"{text[: opening + 1]} {leaf}: {change.value}{text[opening + 1 :]}"
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{_whole_line(parent, leaf, change.value)}\n"


def _whole_line(parent: str, leaf: str, value: str) -> str:
    if not parent:
        return f"{leaf}: {value}"
    if parent.startswith("parameters['"):
        name = parent.removeprefix("parameters['").removesuffix("']")
        return f'parameters {{ key: "{name}" value {{ {leaf}: {value} }} }}'
    return f"{parent.partition('[')[0]} {{ {leaf}: {value} }}"


def _span(text: str, path: str) -> tuple[int, int] | None:
    """Where a field stands, from its name to the end of its value; None if it is not written."""
    places = find_places(text)
    place = places.of(path)
    found = None if place is None else places.around(place.line, place.column)
    return None if found is None else (found.start, found.end)


def _without(text: str, start: int, end: int) -> str:
    """Without a field, and without its line if nothing else stands there but a comment behind it."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    alone = not text[line_start:start].strip() and (
        not text[end:line_end].strip() or text[end:line_end].lstrip().startswith("#")
    )
    return text[:line_start] + text[line_end + 1 :] if alone else text[:start] + text[end:]
