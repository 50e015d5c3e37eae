"""Typed access to the free parameters of a model's configuration."""

from collections.abc import Mapping

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError

MAX_THREADS = 1024
"""For one operator, or across operators: above any machine."""

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def parameter_texts(config: ModelConfig) -> dict[str, str]:
    """The parameters as plain strings."""
    return {key: parameter.string_value for key, parameter in config.parameters.items()}


def integer(
    parameters: Mapping[str, str],
    key: str,
    default: int,
    *,
    most: int | None = None,
    where: str = "parameters",
) -> int:
    """A parameter that counts something. Raises ConfigurationError unless it is an integer from 0 to
    `most`."""
    text = parameters.get(key)
    if text is None:
        return default
    if not text.isdecimal() or (most is not None and int(text) > most):
        expected = "an integer >= 0" if most is None else f"an integer from 0 to {most}"
        raise ConfigurationError(f"{where}['{key}']: expected {expected}, got '{text}'")
    return int(text)


def boolean(parameters: Mapping[str, str], key: str, default: bool, *, where: str = "parameters") -> bool:
    """A parameter that is true, false, 1 or 0 in any case of letters; ConfigurationError otherwise."""
    text = parameters.get(key)
    if text is None:
        return default
    if text.lower() not in _BOOLEANS:
        raise ConfigurationError(f"{where}['{key}']: expected true or false, got '{text}'")
    return _BOOLEANS[text.lower()]
