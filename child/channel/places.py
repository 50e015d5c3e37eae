"""Where the tensors of a message are, as its frame says it, and what the sides tell each other about memory."""

from __future__ import annotations

import struct
from enum import IntEnum

# Bytes of a BYTES tensor, in the order of the head; then, for what is in blocks, a place.
SIZE = struct.Struct("<Q")
# The tensor's number, whose memory, block, segment, offset in the segment, bytes.
PLACE = struct.Struct("<IBQQQQ")
# In place of a tensor's number: all those together that are in no block of their own.
BUNDLE = 0xFFFFFFFF

# Whose memory a block is: the sender's, or the receiver's, who gets it back.
OWN, RETURNED = 0, 1

NOTICE = struct.Struct("<BQ")


class Notice(IntEnum):
    """What one side tells the other, beside any message or in one of its own."""

    RELEASE = 1
    """A block of yours is not used any more."""
    DROP = 2
    """A segment of mine is gone."""
    UNMAPPED = 3
    """A segment of yours could not be mapped: announce it again."""

    def about(self, number: int) -> bytes:
        """The notice about this block or segment."""
        return NOTICE.pack(self, number)
