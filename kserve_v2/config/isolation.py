"""Parameters of a configuration that say where a model's code runs: in the server's process, or in ones of its own."""

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem

ISOLATION = "isolation"
"""`process`: in processes of its own. `none`: in the server's."""

ISOLATION_PROCESSES = "isolation_processes"
"""How many processes its instances share; one for each by default."""

EXECUTION_TIMEOUT = "execution_timeout"
"""Seconds after which an execution that has not ended is ended with its process."""

EXECUTION_ENV_PATH = "EXECUTION_ENV_PATH"
"""The environment of the model's processes, as in Triton: a directory or an archive."""

PARAMETERS = (ISOLATION, ISOLATION_PROCESSES, EXECUTION_TIMEOUT, EXECUTION_ENV_PATH)

_ISOLATIONS = {"process": True, "none": False}
_MAX_PROCESSES = 1024
_MAX_S = 86_400


@dataclass(frozen=True, slots=True)
class Isolation:
    """`processes`: 0 for one of each instance. `timeout_s`: None for any time."""

    processes: int = 0
    timeout_s: float | None = None

    def processes_for(self, instances: int) -> int:
        """How many processes there are for so many instances. Instance k is in process k modulo that."""
        instances = max(1, instances)
        return min(self.processes or instances, instances)


def wants_isolation(config: ModelConfig) -> bool | None:
    """What a configuration says; None if it says nothing, or nothing that means anything."""
    return _ISOLATIONS.get(_text(config, ISOLATION))


def isolation_of(config: ModelConfig) -> Isolation:
    """What a valid configuration says of a model that is isolated."""
    processes, timeout = _text(config, ISOLATION_PROCESSES), _text(config, EXECUTION_TIMEOUT)
    return Isolation(int(processes or 0), float(timeout) if timeout else None)


def isolation_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield values that mean nothing."""
    if ISOLATION in config.parameters and (text := _text(config, ISOLATION)) not in _ISOLATIONS:
        yield _problem(ISOLATION, "'process' or 'none'", text)
    if ISOLATION_PROCESSES in config.parameters:
        text = _text(config, ISOLATION_PROCESSES)
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MAX_PROCESSES):
            yield _problem(ISOLATION_PROCESSES, f"an integer from 1 to {_MAX_PROCESSES}", text)
    if EXECUTION_TIMEOUT in config.parameters:
        text = _text(config, EXECUTION_TIMEOUT)
        if not 0 < _number(text) <= _MAX_S:
            yield _problem(EXECUTION_TIMEOUT, f"seconds, more than 0 and at most {_MAX_S}", text)


def isolation_without_effect(config: ModelConfig, *, isolated: bool) -> Iterator[Problem]:
    """Yield what is set in vain: for a warning. `isolated`: whether the model is, for whatever reason."""
    for name in (ISOLATION_PROCESSES, EXECUTION_TIMEOUT):
        if name in config.parameters and not isolated:
            why = f"the model runs in the server's process; parameters['{ISOLATION}'] is to be 'process'"
            yield Problem(f"parameters['{name}']", f"is set but has no effect: {why}")
    if config.backend != "python":
        # Of the other backends' parameters there are lists. A handler may have any of its own.
        return
    for name in config.parameters:
        alike = difflib.get_close_matches(name.lower(), map(str.lower, PARAMETERS), n=1, cutoff=0.85)
        if alike and name not in PARAMETERS:
            meant = next(each for each in PARAMETERS if each.lower() == alike[0])
            yield Problem(f"parameters['{name}']", f"means nothing to the server: did you mean '{meant}'?")


def _problem(name: str, expected: str, got: str) -> Problem:
    return Problem(f"parameters['{name}']", f"expected {expected} as string_value, got '{got}'")


def _text(config: ModelConfig, name: str) -> str:
    return config.parameters[name].string_value if name in config.parameters else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
