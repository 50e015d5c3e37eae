"""An inference request as a caller has asked for it, and as it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import Array

ParameterValue = bool | int | float | str


class SequenceStep(NamedTuple):
    """Which sequence a request belongs to, by a number or a text that is not 0 or "", and whether it is the first or
    the last of it.
    """

    id: int | str
    start: bool = False
    end: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent. `outputs`: the names of those that are asked for, all if there are none. `classes`:
    of which outputs only that many of the highest values are wanted, with their labels.
    """

    model: str
    version: str
    inputs: Mapping[str, Array]
    outputs: Sequence[str] = ()
    classes: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    id: str = ""


def all_parameters(
    parameters: Mapping[str, ParameterValue] | None, sequence: SequenceStep | None
) -> dict[str, ParameterValue]:
    """Those of the caller, and those that say which sequence a request belongs to. Raises InvalidArgumentError."""
    found = dict(parameters or {})
    for name, value in found.items():
        if not isinstance(value, bool | int | float | str):
            raise InvalidArgumentError(
                f"parameter '{name}': expected a bool, int, float or str, got {type(value).__name__}"
            )
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise InvalidArgumentError(f"parameter '{name}': {value} does not fit into 64 bits")
    if sequence is not None:
        if isinstance(sequence.id, bool) or not isinstance(sequence.id, int | str) or not sequence.id:
            raise InvalidArgumentError(
                f"the id of a sequence is a number that is not 0, or a text that is not empty, got {sequence.id!r}"
            )
        found |= {
            "sequence_id": sequence.id,
            "sequence_start": bool(sequence.start),
            "sequence_end": bool(sequence.end),
        }
    return found
