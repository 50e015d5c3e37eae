"""What can be changed about the log while the server runs: the settings of Triton's logging extension."""

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.settings.settings import LOG_FORMATS

FORMATS = LOG_FORMATS
"""What `log_format` may be."""

SWITCHES: tuple[Literal["log_info", "log_warning", "log_error"], ...] = (
    "log_info", "log_warning", "log_error",
)  # fmt: skip
"""The settings that are booleans."""

MAX_VERBOSE_LEVEL = 2**32 - 1
"""The protocol's type for the level is uint32."""


class LogChanges(TypedDict, total=False):
    """Some settings and their new values, of the right types and in range: the front ends see to that."""

    log_info: bool
    log_warning: bool
    log_error: bool
    log_verbose_level: int
    log_format: str


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Which records are written, and in which form.

    The switches do not depend on each other: without `log_info`, warnings and errors are still written, and so is
    what `log_verbose_level` asks for.
    """

    log_info: bool = True
    log_warning: bool = True
    log_error: bool = True
    log_verbose_level: int = 0
    log_format: str = "default"

    def updated(self, changes: LogChanges) -> "LogSettings":
        """These settings with `changes`."""
        return replace(self, **changes)

    def shown(self) -> dict[str, Any]:
        """What clients are told. Logs always go to stderr."""
        rest = (*SWITCHES, "log_verbose_level", "log_format")
        return {"log_file": "", **{name: getattr(self, name) for name in rest}}

    def shows(self, level: int) -> bool:
        """Whether a record of this level, one of `logging`'s, is written."""
        if level >= logging.ERROR:
            return self.log_error
        if level >= logging.WARNING:
            return self.log_warning
        if level >= logging.INFO:
            return self.log_info
        return self.log_verbose_level > 0


def read_log_changes(
    given: Container[str], read: Callable[[str, type], Any], log_format: str = "log_format"
) -> LogChanges:
    """The changes that a client asks for; settings that are unknown are ignored, as in Triton. `read`: the value of
    one, of that type; raises InvalidArgumentError if it has another. `log_format`: what errors call that setting.

    Raises UnsupportedError for a file.
    """
    if "log_file" in given:
        raise UnsupportedError("log file location can not be updated through network protocol")
    changes = LogChanges()
    for name in SWITCHES:
        if name in given:
            changes[name] = read(name, bool)
    if "log_verbose_level" in given:
        changes["log_verbose_level"] = read("log_verbose_level", int)
    if "log_format" in given:
        value = changes["log_format"] = read("log_format", str)
        if value not in FORMATS:
            raise InvalidArgumentError(f"invalid argument for {log_format}, got: {value}")
    return changes
