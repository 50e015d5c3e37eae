"""What is said between the server and a model's process, and what can go wrong with saying it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@unique
class Kind(IntEnum):
    """What a message is; one byte. 0 is the channel's own."""

    LOAD = 1
    LOADED = 2
    EXECUTE = 3
    RESPOND = 4
    ERROR = 5
    CALL = 6
    ANSWER = 7
    CANCEL = 8
    LOG = 9
    METRIC = 10
    STOP = 11
    NEXT = 12
    CLOSE = 13
    COMPLETE = 14
    COMPLETED = 15
    INSTANCE = 16
    READY = 17
    CONTROL = 18
    REPLY = 19
    HEALTH = 20
    BEGUN = 21


@dataclass
class Message:
    """`number` says which request, call or stream a message belongs to. The arrays of `groups` are the receiver's own,
    to write to and to keep.
    """

    kind: Kind
    number: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    groups: list[dict[str, Array]] = field(default_factory=list)


class ChannelClosed(Exception):  # noqa: N818 - the end of a conversation, not always an error
    """The other side is gone, or this side has closed the channel."""


class ProtocolError(ChannelClosed):
    """The other side has sent what no correct side sends. Nothing more is read from it."""


class MessageError(Exception):
    """One message could not be sent or received; the channel goes on.

    Of one that was received without its tensors, `kind`, `number` and `fields` say which it was.
    """

    def __init__(
        self, text: str, kind: Kind | None = None, number: int = 0, fields: dict[str, Any] | None = None
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.number = number
        self.fields: dict[str, Any] = {} if fields is None else fields
