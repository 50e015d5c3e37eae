"""The messages of a forwarded HTTP request and its answer."""

from enum import IntEnum


class Body(IntEnum):
    """What a message is: the head of the answer, a part of a body, or the last one."""

    HEAD = 1
    PART = 2
    LAST = 3
