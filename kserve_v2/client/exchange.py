"""One question to a server and its answer, as data: what there is to send, and how to read what comes.

The transports, which are sync or async, know nothing else of the protocol.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")


class HttpAnswer(NamedTuple):
    """`headers`: by their names in lower case. `url`: what was asked, for errors."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class HttpExchange(Generic[T]):
    """`path`: behind the server's URL, quoted. `read` raises ServingError, or InvitedError."""

    method: str
    path: str
    read: Callable[[HttpAnswer], T]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RpcExchange(Generic[T]):
    """`method`: the name of an RPC of the inference service. `read` as above."""

    method: str
    request: Message
    answer: type[Message]
    read: Callable[[Any], T]


Exchange = HttpExchange[T] | RpcExchange[T]


@dataclass(frozen=True, slots=True)
class HttpStream(Generic[T]):
    """A question with server-sent events for an answer: `read` makes one answer of the data of each."""

    path: str
    body: bytes
    read: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class RpcStream(Generic[T]):
    """A question with any number of answers. `read` gives None for a message that is none, and says whether it is the
    last one.
    """

    request: Message
    read: Callable[[Any], tuple[T | None, bool]]


Stream = HttpStream[T] | RpcStream[T]


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is to be sent for so many seconds."""

    seconds: float
