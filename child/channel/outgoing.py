"""Where the tensors of a message travel: the small ones together, in the message itself if that is not too much, and
each of the large ones in a block of shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from . import byte_tensors
from .datatypes import BYTES
from .heads import ALIGNMENT, INLINE_BYTES, Head, Tensor
from .holders import Holder, Returns, sole_holder
from .messages import Array, MessageError
from .places import BUNDLE, OWN, PLACE, RETURNED, SIZE
from .segments import Block, Pool, Segment


class Outgoing:
    """The tensors of one message, on their way out. `places` and `inline`: those parts of the frame."""

    def __init__(
        self, head: Head, groups: Sequence[Mapping[str, Array]], pool: Pool, give_to: Returns | None = None
    ) -> None:
        """Copies what travels in blocks. `give_to`: what the other side's blocks are returned to; they go back as they
        are if nobody else has them, see `Channel.send`. Raises MessageError; nothing is lent or given then.
        """
        self._pool = pool
        self._blocks: list[Block] = []
        self._given: list[Holder] = []
        self._places: list[bytes] = []
        self._bundle = bytearray()
        self.inline = b""
        sizes: list[bytes] = []
        try:
            number = 0
            for tensors, group in zip(head.groups, groups):
                for tensor in tensors:
                    packed = (
                        byte_tensors.pack(tensor.name, group[tensor.name]) if tensor.number == BYTES else None
                    )
                    if packed is not None:
                        sizes.append(SIZE.pack(len(packed)))
                    self._add(number, tensor, group, packed, give_to)
                    number += 1
            self._finish_bundle()
        except OSError as error:
            self.undo()
            raise MessageError(f"no shared memory for tensors: {error}") from error
        except BaseException:
            self.undo()
            raise
        self.places = b"".join(sizes + self._places)

    def _add(
        self,
        number: int,
        tensor: Tensor,
        group: Mapping[str, Array],
        packed: bytes | None,
        give_to: Returns | None,
    ) -> None:
        size = tensor.size if packed is None else len(packed)
        if size < INLINE_BYTES:
            self._bundle += group[tensor.name].tobytes() if packed is None else packed
            self._bundle += bytes(-size % ALIGNMENT)
            return
        if give_to is not None and packed is None:
            holder = sole_holder(group, tensor.name, give_to)
            if holder is not None and self._give(number, holder, group[tensor.name]):
                return
        block = self._block(number, size)
        array = group[tensor.name] if packed is None else np.frombuffer(packed, np.uint8)
        block.segment.write(array, block.offset)

    def _block(self, number: int, size: int) -> Block:
        block = self._pool.allocate(size)
        self._blocks.append(block)
        self._places.append(PLACE.pack(number, OWN, block.number, block.segment.number, block.offset, size))
        return block

    def _give(self, number: int, holder: Holder, array: Array) -> bool:
        offset = array.ctypes.data - holder.address
        size = 0 if holder.contents is None else holder.contents.size
        if not 0 <= offset <= size - array.nbytes or offset % array.itemsize:
            return False
        self._given.append(holder)
        self._places.append(PLACE.pack(number, RETURNED, holder.block_number, 0, offset, array.nbytes))
        return True

    def _finish_bundle(self) -> None:
        if len(self._bundle) <= INLINE_BYTES:
            self.inline = bytes(self._bundle)
            return
        block = self._block(BUNDLE, len(self._bundle))
        block.segment.write(np.frombuffer(self._bundle, np.uint8), block.offset)

    @property
    def uses_memory(self) -> bool:
        """Whether anything of it is not in the message itself."""
        return bool(self._blocks or self._given)

    def announcements(self) -> list[Segment]:
        """The segments that the other side has not got yet."""
        segments = {block.segment.number: block.segment for block in self._blocks}
        return [segment for segment in segments.values() if not segment.announced]

    def commit(self) -> None:
        """It is being sent: what was given is not this side's any more."""
        for holder in self._given:
            holder.disarm()

    def undo(self) -> None:
        """It is not going to be sent."""
        for block in self._blocks:
            self._pool.undo(block)
        self._blocks.clear()
        self._given.clear()
