"""The messages of a forwarded HTTP request and its answer."""

from enum import IntEnum


class Body(IntEnum):
    """What a message is: the head of the answer, a part of a body, or the last one; of a request that the worker had
    read, whole, before it was told that the server ends, the last one is another.
    """

    HEAD = 1
    PART = 2
    LAST = 3
    LAST_ACCEPTED = 4
