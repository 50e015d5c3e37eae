"""What a plug-in may raise, made anew for each test: exceptions that are special to Python, and some that fight back."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kserve_v2.errors import InvalidArgumentError, ServingError

HUGE = 300_000


class OfItsOwn(BaseException):
    """Caught by no `except Exception`."""


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(5)

    __repr__ = __str__

    def __dir__(self) -> list[str]:
        raise SystemExit(5)


class SingularError(Exception):
    """Its text raises itself."""

    def __str__(self) -> str:
        raise self


class NoName(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit(6)


class NamelessError(Exception, metaclass=NoName):
    pass


class Text(str):
    """A text whose methods fail."""

    __slots__ = ()

    def encode(self, *args: object, **kwargs: object) -> bytes:
        raise SystemExit(7)

    def __len__(self) -> int:
        raise SystemExit(7)

    def __format__(self, spec: str) -> str:
        raise SystemExit(7)


class OddTextError(Exception):
    def __str__(self) -> str:
        return Text("a text")


class UntoldError(InvalidArgumentError):
    """Has never called its base class: there is no message."""

    def __init__(self) -> None:
        pass


class OddMessageError(InvalidArgumentError):
    @property
    def message(self) -> str:  # type: ignore[override]
        raise SystemExit(8)

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)

    code = 3  # type: ignore[assignment]


class LiarError(Exception):
    """Is taken for a `ServingError` by `isinstance`."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return InvalidArgumentError


def attribute_error() -> BaseException:
    """Python looks through the names of the object, to say which was meant."""
    return AttributeError("no such name", name="nam", obj=ExitingError())


def syntax_error() -> BaseException:
    error = SyntaxError("odd", ("model.py", 1, 1, "x", 1, 2))
    error.msg = SpeechlessError()  # type: ignore[assignment]
    error.lineno = Text("3")  # type: ignore[assignment]
    return error


def circular() -> BaseException:
    error, other = ValueError("first"), ValueError("second")
    error.__cause__, other.__cause__ = other, error
    return error


ONCE_MORE = ValueError("the same object each time")

RAISED: dict[str, Callable[[], BaseException]] = {
    "StopIteration": lambda: StopIteration("a value"),
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "BaseException": lambda: OfItsOwn("of its own"),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("x")]),
    "asyncio.CancelledError": asyncio.CancelledError,
    "concurrent CancelledError": concurrent.futures.CancelledError,
    "InvalidStateError": asyncio.InvalidStateError,
    "TimeoutError": TimeoutError,
    "MemoryError": MemoryError,
    "RecursionError": lambda: RecursionError("too deep"),
    "no text": SpeechlessError,
    "text that exits": ExitingError,
    "text that raises itself": SingularError,
    "no name": lambda: NamelessError("x"),
    "odd text": OddTextError,
    "huge text": lambda: ValueError("x" * HUGE),
    "huge text in three bytes": lambda: InvalidArgumentError("ŝ" * HUGE),
    "surrogates": lambda: ValueError("\ud800 and \udfff"),
    "line ends": lambda: ValueError("a\r\n\r\nb\0c"),
    "no message": UntoldError,
    "odd message": lambda: OddMessageError("x"),
    "not what it says": LiarError,
    "names that exit": attribute_error,
    "odd SyntaxError": syntax_error,
    "circular cause": circular,
    "the same object": lambda: ONCE_MORE,
}


class Unasked:
    """Every question about it fails."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(9)


# More than this nobody reads; a client of gRPC gets less.
MOST_TEXT = 11_000

Act = Callable[[], Any]


def fine() -> None:
    """What a plug-in does that behaves."""


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


def check_text(error: ServingError) -> None:
    """It can be sent, and says something."""
    assert type(error).__module__ == "kserve_v2.errors"
    assert type(error.message) is str
    error.message.encode()
    assert 0 < len(error.message) < MOST_TEXT


def raising(name: str) -> Act:
    def act() -> None:
        raise RAISED[name]()

    return act


raised = pytest.mark.parametrize("name", RAISED)
