"""Texts of exceptions, as clients may see them."""

import pytest

from kserve_v2.errors import describe, without_directories


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
