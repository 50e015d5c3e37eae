"""What is wrong with a configuration: single problems, and the error that carries all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kserve_v2.errors import ConfigurationError, InvalidArgumentError


class ConfigError(ConfigurationError):
    """A model configuration that cannot be read or served; the message has one line for each problem."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `path` names the field, e.g. `input[0].dims[1]`.

    `incomplete`: something is missing that the backend may still fill in from the model's file.
    """

    path: str
    message: str
    incomplete: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def config_error(problems: Iterable[Problem]) -> ConfigError:
    """Make the one error that reports every problem."""
    texts = [str(problem) for problem in problems]
    return ConfigError("\n".join(texts), texts)


def files_error(problems: Sequence[Problem]) -> InvalidArgumentError:
    """Make the one error for files that a valid configuration names: its text speaks of them, and of no fields."""
    return InvalidArgumentError(
        "; ".join(each.message for each in problems), [str(each) for each in problems]
    )
