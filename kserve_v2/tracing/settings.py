"""The trace settings that clients can change: one set for the server, and for each model what differs from it.

Pure values: an update makes new ones. A member that a model does not have follows the server's, a member that the
server does not have is what the server was started with. Texts of errors are Triton's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypedDict, cast

from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.tracing.config import LEVELS, OPENTELEMETRY, TraceConfig

_NAMES = {
    "trace_level": "levels",
    "trace_rate": "rate",
    "trace_count": "count",
    "log_frequency": "log_frequency",
}

MAX_UINT32 = 2**32 - 1
MAX_INT32 = 2**31 - 1


class OwnSettings(TypedDict, total=False):
    """The settings that a scope has of its own."""

    levels: tuple[str, ...]
    rate: int
    count: int
    log_frequency: int


@dataclass(frozen=True, slots=True)
class TraceChanges:
    """What an update asks for: new values, and names of the settings that shall follow the scope above again."""

    values: OwnSettings = field(default_factory=OwnSettings)
    reset: frozenset[str] = frozenset()

    def touches(self, name: str) -> bool:
        """Whether the setting is changed or reset."""
        return name in self.values or name in self.reset


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """What is traced in one scope; the members are those of `TraceConfig`."""

    levels: tuple[str, ...] = ()
    rate: int = 1000
    count: int = -1
    log_frequency: int = 0


@dataclass(frozen=True, slots=True)
class TraceScopes:
    """The settings of the server and of every model.

    `server` and `models` hold what clients have set; a model without any settings of its own is not in `models`.
    """

    config: TraceConfig
    server: OwnSettings = field(default_factory=OwnSettings)
    models: Mapping[str, OwnSettings] = field(default_factory=lambda: MappingProxyType({}))

    def effective(self, model: str = "") -> TraceSettings:
        """The settings that hold for a model; for "" the server's."""
        start = self.config
        settings = TraceSettings(start.levels, start.rate, start.count, start.log_frequency)
        settings = replace(settings, **self.server)
        return replace(settings, **self.models[model]) if model in self.models else settings

    def updated(self, model: str, changes: TraceChanges) -> "TraceScopes":
        """Apply changes to a model's settings, or for "" to the server's.

        Raises InvalidArgumentError where a scope would then trace something that cannot be traced.
        """
        if model:
            own = _merged(self.models.get(model, OwnSettings()), changes)
            models = {**self.models, model: own}
            if not own:
                del models[model]
            scopes = replace(self, models=MappingProxyType(models))
        else:
            scopes = replace(self, server=_merged(self.server, changes))
        for name in ("", *scopes.models):
            scopes._check(scopes.effective(name))
        return scopes

    def _check(self, settings: TraceSettings) -> None:
        if not settings.levels:
            return
        reason = ""
        if self.config.mode != OPENTELEMETRY and settings.rate == 0:
            reason = "sample rate must be non-zero"
        elif self.config.mode != OPENTELEMETRY and not self.config.file:
            reason = "trace file name is not given"
        if reason:
            raise InvalidArgumentError(f"Attempting to set invalid trace setting :{reason}")


def _merged(own: OwnSettings, changes: TraceChanges) -> OwnSettings:
    """What a scope has of its own after an update."""
    kept = {name: value for name, value in own.items() if name not in changes.reset}
    return cast("OwnSettings", {**kept, **changes.values})


def read_changes(given: Mapping[str, list[str] | None], *, space: str = " ") -> TraceChanges:
    """The changes that a request asks for: setting name to its texts, None to reset it. Unknown names and levels are
    ignored, as Triton does. `space`: what stands before the value in one text, where Triton's front ends differ.

    Raises UnsupportedError for the file, whose place only the operator decides, and InvalidArgumentError.
    """
    if "trace_file" in given:
        raise UnsupportedError("trace file location can not be updated through network protocol")
    values = OwnSettings()
    if (texts := given.get("trace_level")) is not None and (levels := _read_levels(texts)) is not None:
        values["levels"] = levels
    if (texts := given.get("trace_rate")) is not None:
        values["rate"] = _read_uint32("trace_rate", texts)
    if (texts := given.get("trace_count")) is not None:
        values["count"] = _read_count(texts, space)
    if (texts := given.get("log_frequency")) is not None:
        values["log_frequency"] = _read_uint32("log_frequency", texts)
    reset = frozenset(own for name, own in _NAMES.items() if name in given and given[name] is None)
    return TraceChanges(values, reset)


def _read_levels(texts: list[str]) -> tuple[str, ...] | None:
    """The levels, () for OFF; None where none is known, which changes nothing."""
    if "OFF" in texts:
        if len(texts) > 1:
            raise InvalidArgumentError("Expect only one trace level 'OFF' is specified")
        return ()
    return tuple(level for level in LEVELS if level in texts) or None


def _read_uint32(name: str, texts: list[str]) -> int:
    """A number from 0 to 2³²-1; -1 stands for the largest."""
    number = _read_number(name, texts)
    if number == -1:
        return MAX_UINT32
    return _in_range(name, number, 0, MAX_UINT32, texts[0])


def _read_count(texts: list[str], space: str) -> int:
    count = _read_number("trace_count", texts)
    if -MAX_INT32 - 1 <= count < -1:
        raise InvalidArgumentError(
            f"Unable to parse 'trace_count'. Expecting value >= -1, got:{space}{texts[0]}"
        )
    return _in_range("trace_count", count, -1, MAX_INT32, texts[0])


def _read_number(name: str, texts: list[str]) -> int:
    if len(texts) != 1:
        raise InvalidArgumentError(f"expect only 1 value for '{name}'")
    # The length is limited because Python refuses to read numbers of thousands of digits.
    if not re.fullmatch(r"[+-]?[0-9]{1,1000}", texts[0].strip()):
        raise InvalidArgumentError(f"Unable to parse '{name}', got: {texts[0]}")
    return int(texts[0])


def _in_range(name: str, number: int, low: int, high: int, text: str) -> int:
    if not low <= number <= high:
        raise InvalidArgumentError(
            f"Unable to parse '{name}', value is out of range [ {low}, {high} ], got: {text}"
        )
    return number
