"""Every error that a client can be told about, and the one table from error code to HTTP and gRPC status.

A module raises the exception that says what went wrong; only the front ends turn it into a status number, by
this table.
"""

import concurrent.futures
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import ClassVar, NamedTuple

# The directories of an absolute path; those of a URL or a fraction are left alone.
_DIRECTORIES = re.compile(r"(?<![\w.:/])(?:/[^\s/'\":]+)+/")

# Characters of a text that a plug-in has chosen.
_MAX_TEXT = 10_000


class Status(NamedTuple):
    """What one error code becomes on the wire: HTTP status, gRPC status."""

    http: int
    grpc: int


class ErrorCode(Enum):
    """The protocol's error codes; each value is its pair of status numbers."""

    INVALID_ARGUMENT = Status(400, 3)
    NOT_FOUND = Status(404, 5)
    ALREADY_EXISTS = Status(409, 6)
    ABORTED = Status(409, 10)
    RESOURCE_EXHAUSTED = Status(413, 8)
    UNAUTHENTICATED = Status(401, 16)
    PERMISSION_DENIED = Status(403, 7)
    CANCELLED = Status(499, 1)
    INTERNAL = Status(500, 13)
    UNKNOWN = Status(400, 2)
    UNSUPPORTED = Status(501, 12)
    UNAVAILABLE = Status(503, 14)
    OVERLOADED = Status(503, 8)
    DEADLINE_EXCEEDED = Status(504, 4)


def _sendable(text: str) -> str:
    return text.encode(errors="replace").decode()


class ServingError(Exception):
    """Base of all errors meant for the client. `message` is sent as it is: no traceback, path or internal
    name in it. What has no form in UTF-8, as may be in the names of files, becomes question marks.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(self, message: str) -> None:
        self.message = _sendable(message)
        super().__init__(self.message)


class InvalidArgumentError(ServingError):
    """The client's request or configuration is wrong: repeating it unchanged cannot help.

    `problems`: what is wrong, one text for each thing that can be put right by itself. A text about a field of a
    model's configuration begins with the field's path and a colon.
    """

    code = ErrorCode.INVALID_ARGUMENT

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(map(_sendable, problems)) or (self.message,)


class ConfigurationError(InvalidArgumentError):
    """A model's configuration is wrong by itself, whatever its files are."""


class DuplicateError(InvalidArgumentError):
    """Several models have one name. Where they lie stands in `problems`, which no client gets."""


class ContradictionError(InvalidArgumentError):
    """A model's file says something else than its configuration. The text lists every such place."""


class NotFoundError(ServingError):
    """No such model, version or region."""

    code = ErrorCode.NOT_FOUND


class AlreadyExistsError(ServingError):
    """The name is taken."""

    code = ErrorCode.ALREADY_EXISTS


class AbortedError(ServingError):
    """It conflicts with what there is, or with what is under way."""

    code = ErrorCode.ABORTED


class ResourceExhaustedError(ServingError):
    """A message is larger than the server accepts."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class OverloadedError(ServingError):
    """The server has no room for the request now. Worth another try, later."""

    code = ErrorCode.OVERLOADED


class NoRoomYetError(OverloadedError):
    """There is no room in memory for a model now, and may be later. `in_s`: in how many seconds, at the soonest.
    `needed`: for how much there is none, in bytes by device.
    """

    def __init__(self, message: str, in_s: float, needed: Mapping[str, int]) -> None:
        super().__init__(message)
        self.in_s = in_s
        self.needed = needed


class NoRoomError(OverloadedError):
    """There is no room in memory for a model, whatever goes by itself: to try again is of no use until somebody has
    acted.
    """


class UnauthenticatedError(ServingError):
    """The caller has not said who it is."""

    code = ErrorCode.UNAUTHENTICATED


class PermissionDeniedError(ServingError):
    """The caller may not do this."""

    code = ErrorCode.PERMISSION_DENIED


class RequestCancelledError(ServingError):
    """The request was given up before it had an answer."""

    code = ErrorCode.CANCELLED


class InternalError(ServingError):
    """The server or the model failed on a request that was in order."""

    code = ErrorCode.INTERNAL


class UnknownError(ServingError):
    """A model has failed, and says no more of how than its text. With Triton's status numbers."""

    code = ErrorCode.UNKNOWN


class UnsupportedError(ServingError):
    """A correct request for something that this server, or this model, does not do."""

    code = ErrorCode.UNSUPPORTED


class DeadlineExceededError(ServingError, TimeoutError):
    """There was no answer in the time that the caller has given. The request may have been executed. Only clients tell
    it.
    """

    code = ErrorCode.DEADLINE_EXCEEDED


class UnavailableError(ServingError):
    """Not now: not ready, draining, queue full, queue time-out, instance lost. Worth another try."""

    code = ErrorCode.UNAVAILABLE


class UnfinishedError(UnavailableError):
    """As above, but of a request that had begun: whoever sends it again may have it executed twice."""


class NotServedError(UnavailableError):
    """Not ready, and nothing is under way by which it would be: to try again is of no use until somebody has acted."""


class ExitingError(UnavailableError):
    """The server was told to end, and begins nothing any more: another one may take the request."""


class NotLoadedError(UnavailableError):
    """A model that is loaded when it is asked for is not. Whoever can wait has that done, and asks again."""

    def __init__(self, model_name: str) -> None:
        super().__init__(
            f"Request for unknown model: '{model_name}' is not loaded; it is loaded when it is asked for"
        )
        self.model_name = model_name


class NotHereError(Exception):
    """Not for this process of the server: whoever has asked it hands the request to another one."""


RETRY_AFTER_S = 1
"""How long a client should wait before it tries again what `may_try_again` says it may, in seconds."""


def may_try_again(error: ServingError) -> bool:
    """Whether a request that is refused now can be had later by itself, and nothing of it was executed."""
    return error.code in (ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED) and not isinstance(
        error, UnfinishedError | NotServedError | NoRoomError
    )


def request_prefix(request_id: str) -> str:
    """How Triton starts an error about a request that it has read."""
    return f"[request id: {request_id or '<id_unknown>'}] "


def shape_text(shape: Iterable[int]) -> str:
    """A shape as Triton prints it: `[-1,3]`."""
    return f"[{','.join(map(str, shape))}]"


def without_directories(text: str) -> str:
    """`text` with every absolute path cut to its last component: clients must not learn where things lie."""
    return _DIRECTORIES.sub("", text)


def text_of(error: BaseException) -> str:
    """The text of any exception, on whatever terms it can be had: that of a plug-in's may raise, or have no end."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return shortened(str.__str__(text))
    except BaseException:  # noqa: BLE001 - it is a plug-in's code that runs here
        return "(it has no text)"


def shortened(text: str) -> str:
    """As much of a text as anybody reads."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}... ({len(text)} characters)"


def describe(error: BaseException) -> str:
    """Type and text of any exception, fit for clients."""
    name = str.__str__(type.__dict__["__name__"].__get__(type(error)))
    text = without_directories(text_of(error))
    return f"{name}: {text}" if text else name


def as_serving_error(error: BaseException | None) -> ServingError | None:
    """An error that is meant for the client, made anew, or None for any other. Anew, because a plug-in may raise one
    object again and again, and what a class of its own makes of ours is not relied on.
    """
    if error is None:
        return None
    kind = next((_OURS[kind] for kind in type(error).__mro__ if kind in _OURS), None)
    return None if kind is None else kind(_message_of(error) or describe(error))


def has_text(error: BaseException) -> bool:
    """Whether an error that is meant for the client says anything."""
    return bool(_message_of(error).strip())


def reason_of(error: BaseException) -> str:
    """What any exception says: the text of one that is meant for the client, type and text of any other."""
    known = as_serving_error(error)
    return known.message if known is not None else describe(error)


def _message_of(error: BaseException) -> str:
    try:
        message = vars(error)["message"]
        return shortened(str.__str__(message))
    except BaseException:  # noqa: BLE001 - as in `text_of`
        return text_of(error)


def ordinary(error: BaseException) -> Exception:
    """`error` as it may pass through futures and tasks: what has a meaning for them, or would end the event loop,
    becomes an internal error that says what it was.
    """
    special = (StopIteration, StopAsyncIteration, concurrent.futures.CancelledError)
    if isinstance(error, Exception) and not isinstance(error, special):
        return error
    return InternalError(describe(error))


_OURS: dict[type, type[ServingError]] = {each: each for each in ServingError.__subclasses__()}
_OURS |= {
    ServingError: ServingError,
    ContradictionError: ContradictionError,
    UnfinishedError: UnfinishedError,
    NotServedError: NotServedError,
    NoRoomError: NoRoomError,
}


def named_error(kind: str, message: str) -> ServingError:
    """The error whose class has that name: for one that another process of the same server has told."""
    named = {each.__name__: each for each in _OURS.values()}
    return named.get(kind, InternalError)(message)
