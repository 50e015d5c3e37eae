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
from collections.abc import Mapping, Sequence

from kserve_v2.tensors.datatypes import BY_DTYPE, Array
from kserve_v2.tensors.strings import encode_bytes_tensor

KEY_BYTES = 32
"""Length of a key."""

# Up to here a copy of the content costs less than a view of it.
_COPIED_BYTES = 2048
_LENGTH = struct.Struct("<Q")


class KeyMaker:
    """Makes the keys of one loaded version."""

    __slots__ = ("_seed",)

    def __init__(self, *identity: str) -> None:
        """`identity`: what tells the model from all others that share a cache with it."""
        self._seed = hashlib.blake2b(repr(identity).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES)

    def key(
        self,
        inputs: Mapping[str, Array],
        requested_outputs: Sequence[str],
        parameters: Mapping[str, object],
    ) -> bytes:
        """The key of one request."""
        arrays = sorted(inputs.items()) if len(inputs) > 1 else list(inputs.items())
        form = [(name, BY_DTYPE[array.dtype].name, array.shape) for name, array in arrays]
        # `repr` tells True from 1, 1 from 1.0 and "1", and every float from every other. What it makes of a tuple says
        # itself where it ends.
        head = repr((form, tuple(requested_outputs), sorted(parameters.items()) if parameters else ()))
        parts: list[bytes | memoryview] = [head.encode("utf-8", "surrogatepass")]
        for _, array in arrays:
            if array.dtype.kind == "O":
                # With the length of each element in front of it: ["ab", "c"] is not ["a", "bc"].
                content = encode_bytes_tensor(array.reshape(-1).tolist())
                parts.append(_LENGTH.pack(len(content)))
                parts.append(content)
            elif array.nbytes > _COPIED_BYTES and array.flags.c_contiguous:
                parts.append(array.reshape(-1).view("u1").data)
            else:
                parts.append(array.tobytes())
        hasher = self._seed.copy()
        for part in parts:
            hasher.update(part)
        return hasher.digest()
