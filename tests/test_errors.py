"""Texts of exceptions, as clients may see them."""

import asyncio
import concurrent.futures

import pytest

from kserve_v2.errors import (
    ContradictionError,
    InternalError,
    InvalidArgumentError,
    NoRoomError,
    NotServedError,
    OverloadedError,
    ServingError,
    UnavailableError,
    UnfinishedError,
    as_serving_error,
    describe,
    may_try_again,
    ordinary,
    without_directories,
)
from tests.backends.hostile import RAISED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("boom in /srv/models/secret/weights.bin", "boom in weights.bin"),
        (
            "cannot import name 'x' from 'y' (/usr/lib/python3/y.py)",
            "cannot import name 'x' from 'y' (y.py)",
        ),
        (
            "[Errno 2] No such file or directory: '/srv/models/m/1/vocabulary'",
            "[Errno 2] No such file or directory: 'vocabulary'",
        ),
        ("/a/b and /c/d", "b and d"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("rows/second, 1/2", "rows/second, 1/2"),
        ("labels/colours.txt", "labels/colours.txt"),
        ("", ""),
    ],
)
def test_absolute_paths_lose_their_directories(text: str, shown: str) -> None:
    assert without_directories(text) == shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("no /tmp/x/y"), "ValueError: no y"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (
            SyntaxError("invalid syntax", ("/srv/m/1/model.py", 3, 1, "this is", 3, 2)),
            "SyntaxError: invalid syntax",
        ),
        (FileNotFoundError(2, "No such file", "/srv/m/a"), "FileNotFoundError: [Errno 2] No such file: 'a'"),
    ],
)
def test_type_and_text_of_an_exception(error: BaseException, shown: str) -> None:
    assert describe(error) == shown


@pytest.mark.parametrize("name", RAISED)
def test_any_exception_has_a_type_and_a_text_that_can_be_sent(name: str) -> None:
    text = describe(RAISED[name]())
    assert type(text) is str
    assert 0 < len(text) < 11_000
    assert f"{text} can be put together with others".startswith(text)


def test_a_text_without_end_has_one() -> None:
    assert describe(ValueError("x" * 20_000)) == f"ValueError: {'x' * 10_000}... (20000 characters)"


class OwnError(UnavailableError):
    """What a plug-in derives from an error of ours."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (InvalidArgumentError("wrong"), InvalidArgumentError, "wrong"),
        (ContradictionError("wrong"), ContradictionError, "wrong"),
        (ServingError("wrong"), ServingError, "wrong"),
        (OwnError(3), UnavailableError, "number 3"),
        (InternalError(""), InternalError, "InternalError"),
    ],
)
def test_errors_for_the_client_are_told_by_a_new_one(
    error: ServingError, kind: type[ServingError], message: str
) -> None:
    told = as_serving_error(error)
    assert told is not error
    assert type(told) is kind
    assert told.message == message


@pytest.mark.parametrize("error", [None, ValueError("x"), KeyboardInterrupt()])
def test_no_other_errors_are_for_the_client(error: BaseException | None) -> None:
    assert as_serving_error(error) is None


@pytest.mark.parametrize(
    "error", [ValueError("x"), InvalidArgumentError("x"), OSError(2, "x"), TimeoutError()]
)
def test_ordinary_exceptions_pass_as_they_are(error: Exception) -> None:
    assert ordinary(error) is error


@pytest.mark.parametrize(
    "error",
    [
        StopIteration(1), StopAsyncIteration(), GeneratorExit(), SystemExit(3), KeyboardInterrupt(),
        asyncio.CancelledError(), concurrent.futures.CancelledError(), BaseException("x"),
    ],
)  # fmt: skip
def test_what_is_special_to_tasks_and_futures_becomes_an_internal_error(error: BaseException) -> None:
    plain = ordinary(error)
    assert type(plain) is InternalError
    assert plain.message == describe(error)


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (UnavailableError("queue full"), True),
        (OverloadedError("no memory"), True),
        (UnfinishedError("its process was killed"), False),
        (NotServedError("unloaded"), False),
        (NoRoomError("too large"), False),
        (InvalidArgumentError("x"), False),
        (InternalError("x"), False),
    ],
)
def test_who_may_try_again(error: ServingError, may: bool) -> None:
    assert may_try_again(error) is may
    # Also of an error that was made anew.
    made = as_serving_error(error)
    assert type(made) is type(error)
    assert may_try_again(made) is may
