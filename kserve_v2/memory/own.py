"""Outputs that share memory with something that outlives the call are copied.

A model may keep what it has returned: a buffer that it fills again with each call, a tensor of its weights, an input
that lies in a client's shared memory. An answer is sent later, and slowly if its reader is slow, while the model
computes the next one. So an array leaves an instance as it is only where it is proved that nobody else holds its
memory.
"""

from collections.abc import Callable, Mapping, Set
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

import numpy as np

from kserve_v2.tensors.datatypes import Array

OwnerIsAlone = Callable[[object], bool]
"""Whether memory that is not numpy's, but that of this object, is held by this object alone. Nobody else refers to the
object itself: that has been found out already.
"""


_NO_TENSORS: Mapping[str, Array] = {}
_NONE: frozenset[int] = frozenset()


def _unknown_owner(_: object) -> bool:
    return False


def copy_shared(
    tensors: dict[str, Array],
    owner_is_alone: OwnerIsAlone = _unknown_owner,
    *,
    inputs: Mapping[str, Array] = _NO_TENSORS,
) -> None:
    """Replace arrays whose memory somebody else may hold by copies, and those whose elements do not lie one after the
    other: answers are written from where they are.

    The dictionary holds all references to its arrays that the caller has: those that a returned mapping holds count, if
    it still lives. `inputs`: arrays that the model was given, but in another mapping, and not by a request: so it
    cannot have kept them without holding them itself. Nobody else needs them any more, and one that can be written to
    is its request's alone, so a model may answer with that memory.
    """
    ours = {id(array) for array in inputs.values() if array.flags.writeable} if inputs else _NONE
    for name in list(tensors):
        if not _is_alone(tensors, name, owner_is_alone, ours) or not tensors[name].flags.c_contiguous:
            tensors[name] = tensors[name].copy()


def _is_alone(tensors: dict[str, Array], name: str, owner_is_alone: OwnerIsAlone, ours: Set[int]) -> bool:
    """An array's memory belongs to it or to the last of its bases: each of them is held by the one before it alone."""
    owner: Any = tensors[name]
    own_input = False
    while isinstance(owner, np.ndarray):
        own_input = id(owner) in ours
        if getrefcount(owner) > _ONE_HOLDER + own_input or getweakrefcount(owner):
            return False
        if owner.base is None:
            return owner.flags.owndata
        owner = owner.base
    # Nobody can write to `bytes`.
    return own_input or type(owner) is bytes or (getrefcount(owner) <= _ONE_HOLDER and owner_is_alone(owner))


def _count_of_one(holder: dict[str, Array], name: str) -> int:
    """What `getrefcount` says above of an object that has one holder: how many references the interpreter itself needs
    is its own affair.
    """
    owner: Any = holder[name]
    return getrefcount(owner)


_ONE_HOLDER = _count_of_one({"": np.empty(0)}, "")
