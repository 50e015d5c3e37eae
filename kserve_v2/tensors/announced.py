"""What a client says about an input before its data: the codecs of both protocols check the data against it."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from kserve_v2.errors import InvalidArgumentError, request_prefix
from kserve_v2.tensors.datatypes import BY_NAME, Datatype

# No tensor that fits into a message has more elements, and numpy cannot make an array of more.
_MAX_ELEMENTS = 2**59


class AnnouncedInput(NamedTuple):
    """An input's name, datatype and shape; and for the texts of errors, the model and the id of the request."""

    name: str
    datatype: Datatype
    shape: Sequence[int]
    model_name: str
    request_id: str

    @property
    def prefix(self) -> str:
        """How an error about this input starts."""
        return request_prefix(self.request_id)

    def element_count(self) -> int:
        """Number of elements, before anything of that size is allocated. Raises InvalidArgumentError for an
        impossible shape.
        """
        count = prod(self.shape)
        if self.shape and min(self.shape) < 0:
            raise InvalidArgumentError(
                f"invalid shape for input '{self.name}': shape {list(self.shape)} contains one or more invalid "
                "dimensions"
            )
        if count > _MAX_ELEMENTS or (count == 0 and prod(filter(None, self.shape)) > _MAX_ELEMENTS):
            raise InvalidArgumentError(
                f"invalid shape for input '{self.name}': shape {list(self.shape)} causes total element count to exceed "
                f"maximum size of {_MAX_ELEMENTS}"
            )
        return count

    def size_mismatch(self, expected: int, got: int) -> InvalidArgumentError:
        """The error for data of a wrong size, in bytes."""
        return InvalidArgumentError(
            f"{self.prefix}input byte size mismatch for input '{self.name}' for model '{self.model_name}'. "
            f"Expected {expected}, got {got}"
        )

    def out_of_range(self) -> InvalidArgumentError:
        """The error for a whole number that the datatype cannot hold."""
        limits = np.iinfo(self.datatype.dtype)
        return InvalidArgumentError(
            f"input '{self.name}' for model '{self.model_name}' has a value out of range "
            f"for {self.datatype.name} [{limits.min}, {limits.max}]"
        )


def datatype_by_name(datatype: str, name: str) -> Datatype:
    """The datatype of input `name` that a client calls `datatype`. Raises InvalidArgumentError if there is
    none.
    """
    try:
        return BY_NAME[datatype]
    except KeyError:
        raise unknown_datatype(datatype, name) from None


def named_twice(kind: str, name: str, request_id: str) -> InvalidArgumentError:
    """The error for a request with two inputs or outputs of one name. `kind`: "input" or "output"."""
    return InvalidArgumentError(f"{request_prefix(request_id)}{kind} '{name}' already exists in request")


def unknown_datatype(datatype: str, name: str, prefix: str = "") -> InvalidArgumentError:
    """The error for an input `name` of a datatype that is none. `prefix`: how its text starts."""
    return InvalidArgumentError(
        f"{prefix}invalid datatype for input {name}: got '{datatype}', expected one of {', '.join(BY_NAME)}"
    )
