"""Outputs that share memory with something that outlives the call are copied.

A model may keep what it has returned: a buffer that it fills again with each call, a tensor of its weights, the input
that a client's shared memory holds. An answer is sent later, and slowly if its reader is slow, while the model computes
the next one. So an array leaves an instance as it is only where it is proved that nobody else holds its memory.
"""

from collections.abc import Callable
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

import numpy as np

from kserve_v2.datatypes import Array

OwnerIsAlone = Callable[[object], bool]
"""Whether memory that is not numpy's, but that of this object, is held by this object alone. Nobody else refers to the
object itself: that has been found out already.
"""


def _unknown_owner(_: object) -> bool:
    return False


def copy_shared(tensors: dict[str, Array], owner_is_alone: OwnerIsAlone = _unknown_owner) -> None:
    """Replace arrays whose memory somebody else may hold by copies. The dictionary holds all references to its arrays
    that the caller has: those that a returned mapping holds count, if it still lives.

    An array's memory belongs to it or to the last of its bases; each of them must be held by the one before it alone.
    """
    # Not over the items: an iterator over those holds a reference.
    for name in list(tensors):
        owner: Any = tensors[name]
        alone = getrefcount(owner) <= _ONE_HOLDER
        while alone and isinstance(owner, np.ndarray) and owner.base is not None:
            alone = not getweakrefcount(owner)
            owner = owner.base
            alone = alone and getrefcount(owner) <= _ONE_HOLDER
        if alone:
            alone = _owns_memory(owner) if isinstance(owner, np.ndarray) else owner_is_alone(owner)
        # Nobody can write to `bytes`.
        if not alone and type(owner) is not bytes:
            tensors[name] = tensors[name].copy()


def _owns_memory(array: Array) -> bool:
    return array.flags.owndata and not getweakrefcount(array)


def _count_of_one(holder: dict[str, Array]) -> int:
    """What `getrefcount` says above of an object that has one holder: how many references the interpreter itself needs
    is its own affair.
    """
    owner: Any = np.empty(0)
    for name in list(holder):
        owner = holder[name]
    return getrefcount(owner)


_ONE_HOLDER = _count_of_one({"": np.empty(0)})
