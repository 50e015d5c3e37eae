"""The key of an answer: a strong hash of all that can change it, and of nothing else.

That is the model's name, version and generation, which make the seed; the inputs by name, each with its datatype, shape
and content; which outputs are asked for; and the request's parameters, because a handler can read them, and answer
accordingly. Two requests that differ in any of these never share an answer: the hash has 256 bits, and nobody has found
two messages with one BLAKE2b yet, also among those who look for them in order to be told what others have asked.

Not part of it: the request's id, which every answer has of its own request; priority and time-out, which decide when a
model is executed but not what it says; and the order of the inputs, as they are identified by their names.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence

from kserve_v2.tensors.datatypes import BY_DTYPE, Array
from kserve_v2.tensors.strings import encode_bytes_tensor

KEY_BYTES = 32
"""Length of a key."""

# Up to here a copy of the content costs less than a view of it.
_COPIED_BYTES = 2048
# Numbers of rows and lists of outputs whose heads are kept.
_MAX_HEADS = 256
_LENGTH = struct.Struct("<Q")


class KeyMaker:
    """Makes the keys of one loaded version."""

    __slots__ = ("_fixed", "_heads", "_seed")

    def __init__(self, *identity: str, fixed: Iterable[str] = ()) -> None:
        """`identity`: what tells the model from all others that share a cache with it. `fixed`: the names of the inputs
        of a model whose requests have all of them, of fixed datatypes, in shapes that follow from the number of rows.
        """
        self._seed = hashlib.blake2b(repr(identity).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES)
        self._fixed = tuple(sorted(fixed))
        self._heads: dict[object, bytes] = {}

    def key(
        self,
        inputs: Mapping[str, Array],
        requested_outputs: tuple[str, ...],
        parameters: Mapping[str, object],
        rows: int = 0,
    ) -> bytes:
        """The key of one request of `rows` rows, whose form has been checked."""
        if self._fixed and not parameters:
            arrays = [inputs[name] for name in self._fixed]
            form = (rows, requested_outputs)
            head = self._heads.get(form)
            if head is None:
                head = _head(self._fixed, arrays, requested_outputs, parameters)
                if len(self._heads) < _MAX_HEADS:
                    self._heads[form] = head
        else:
            names = sorted(inputs)
            arrays = [inputs[name] for name in names]
            head = _head(names, arrays, requested_outputs, parameters)
        hasher = self._seed.copy()
        hasher.update(head)
        for array in arrays:
            if array.nbytes <= _COPIED_BYTES and array.dtype.kind != "O":
                hasher.update(array.tobytes())
            else:
                _update(hasher, array)
        return hasher.digest()


def _head(
    names: Sequence[str],
    arrays: Sequence[Array],
    requested_outputs: tuple[str, ...],
    parameters: Mapping[str, object],
) -> bytes:
    """All but the content. `repr` tells True from 1, 1 from 1.0 and "1", and every float from every other; what it
    makes of a tuple says itself where it ends.
    """
    form = [
        (name, BY_DTYPE[array.dtype].name, array.shape) for name, array in zip(names, arrays, strict=True)
    ]
    return repr((form, requested_outputs, sorted(parameters.items()))).encode("utf-8", "surrogatepass")


def _update(hasher: "hashlib.blake2b", array: Array) -> None:
    """Add the content of an array that is large, or of texts."""
    if array.dtype.kind == "O":
        # With the length of each element in front of it: ["ab", "c"] is not ["a", "bc"].
        content = encode_bytes_tensor(array.reshape(-1).tolist())
        hasher.update(_LENGTH.pack(len(content)))
        hasher.update(content)
    elif array.flags.c_contiguous:
        hasher.update(array.reshape(-1).view("u1").data)
    else:
        hasher.update(array.tobytes())
