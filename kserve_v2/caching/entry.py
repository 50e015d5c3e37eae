"""What is kept of an answer."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kserve_v2.tensors.datatypes import Array

ParameterValue = bool | int | float | str


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The outputs and parameters of an answer. Nobody can write to the arrays, whose memory is theirs alone: they are
    handed to any number of callers. `nbytes`: what all of it takes in memory.
    """

    outputs: Mapping[str, Array]
    parameters: Mapping[str, ParameterValue]
    nbytes: int


def entry_of(outputs: Mapping[str, Array], parameters: Mapping[str, ParameterValue]) -> Entry:
    """Copies of these outputs and parameters."""
    return sized_entry({name: array.copy(order="C") for name, array in outputs.items()}, dict(parameters))


def sized_entry(outputs: Mapping[str, Array], parameters: Mapping[str, ParameterValue]) -> Entry:
    """An entry of arrays that are its own already; from now on nobody can write to them."""
    for array in outputs.values():
        array.flags.writeable = False
    nbytes = sys.getsizeof(outputs) + sys.getsizeof(parameters)
    nbytes += sum(sys.getsizeof(name) + array_bytes(array) for name, array in outputs.items())
    nbytes += sum(sys.getsizeof(name) + sys.getsizeof(value) for name, value in parameters.items())
    return Entry(outputs, parameters, nbytes)


def array_bytes(array: Array) -> int:
    """What an array that owns its memory takes, with the objects that it refers to."""
    size = sys.getsizeof(array)
    if array.dtype.kind == "O":
        size += sum(map(sys.getsizeof, array.reshape(-1).tolist()))
    return size
