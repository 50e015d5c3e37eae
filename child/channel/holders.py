"""Arrays over blocks of shared memory: the block is given back when the last of them is collected."""

from __future__ import annotations

from collections.abc import Mapping
from sys import getrefcount
from typing import Any, Protocol
from weakref import getweakrefcount

import numpy as np

from .memory import Contents
from .messages import Array


class Returns(Protocol):
    """What has been given back; a deque is one."""

    def append(self, returned: Any, /) -> None:
        """Take it, without waiting for a lock."""
        ...


class Holder:
    """What an array over a block has for its base. Its finalizer can run anywhere, in the midst of anything that
    allocates, so that it does nothing but append to a deque.

    `block_number`: of a block of the other side's, 0 of one of ours and of one that has been given away. `contents`:
    the segment's; None of one that could not be mapped.
    """

    __slots__ = ("__array_interface__", "_returned", "_returns", "block_number", "contents")

    def __init__(self, contents: Contents | None, block_number: int, returned: Any, returns: Returns) -> None:
        """`returned` is appended to `returns` when this is collected."""
        self.contents = contents
        self.block_number = block_number
        self._returned = returned
        self._returns: Returns | None = returns
        self.__array_interface__: dict[str, Any] = {}

    @property
    def address(self) -> int:
        """Where the contents are mapped."""
        return 0 if self.contents is None else self.contents.address

    def array(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """An array of the contents, which are mapped; the range has been checked."""
        # numpy's own name for other packages' datatypes means nothing.
        typestr = dtype.str if dtype.kind != "V" else f"|u{dtype.itemsize}"
        data = (self.address + offset, False)
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": typestr, "data": data}
        array: Array = np.asarray(self)
        return array.view(dtype) if dtype.kind == "V" else array

    def disarm(self) -> None:
        """The block has been given away: it is not to be given back any more."""
        self.block_number = 0
        self._returns = None

    def __del__(self) -> None:
        if self._returns is not None:
            self._returns.append(self._returned)

    def is_lent_by(self, returns: Returns) -> bool:
        """Whether the block is the other side's who gets `returns`, and is still to be given back."""
        return self._returns is returns and self.block_number > 0


def sole_holder(group: Mapping[str, Array], name: str, returns: Returns) -> Holder | None:
    """The holder of an array over a block of the other side's, who gets `returns`, that is nobody else's: nothing but
    the group refers to the array, which is contiguous, and nothing but each array to its base. None if there is any
    doubt.
    """
    if not group[name].flags.c_contiguous:
        return None
    owner: Any = group[name]
    while isinstance(owner, np.ndarray):
        if getrefcount(owner) > _ONE_REFERENCE or getweakrefcount(owner):
            return None
        owner = owner.base
    if type(owner) is not Holder or getrefcount(owner) > _ONE_REFERENCE:
        return None
    return owner if owner.is_lent_by(returns) else None


def _count_of_one(group: Mapping[str, Array], name: str) -> int:
    """What `getrefcount` says above of what has one holder: how many references the interpreter itself needs is its own
    affair.
    """
    owner: Any = group[name]
    return getrefcount(owner)


_ONE_REFERENCE = _count_of_one({"": np.empty(0)}, "")
