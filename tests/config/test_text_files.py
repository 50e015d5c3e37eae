"""Text files as editors save them: marks in front, line ends, encodings."""

from pathlib import Path

import pytest

from kserve_v2.config.text_files import read_lines, read_text
from kserve_v2.errors import InvalidArgumentError

CASES = Path(__file__).parent.parent / "cases" / "config_text"


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nb\n", "a\nb\n"),
        (b"\xef\xbb\xbfa\r\nb", "a\nb"),
        (b"\xef\xbb\xbf", ""),
        (b"", ""),
        ("größe\u2028\u0085\v".encode(), "größe\u2028\u0085\v"),
        # Only the first mark is one.
        (b"\xef\xbb\xbf\xef\xbb\xbfa", "\ufeffa"),
    ],
)
def test_text(tmp_path: Path, content: bytes, expected: str) -> None:
    assert read_text(write(tmp_path, content), "f") == expected


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", ()),
        (b"a", ("a",)),
        (b"a\nb\n", ("a", "b")),
        (b"a\r\n\r\nb\r\n", ("a", "", "b")),
        (b"a\n\n", ("a", "")),
        # What Python's splitlines would also split at: the labels behind would be those of other classes.
        ("a\u2028b\u0085c\vd\fe\x1cf\rg\nh".encode(), ("a\u2028b\u0085c\vd\fe\x1cf\rg", "h")),
    ],
)
def test_lines(tmp_path: Path, content: bytes, lines: tuple[str, ...]) -> None:
    assert read_lines(write(tmp_path, content), "f") == lines


def test_a_label_file_from_windows() -> None:
    assert read_lines(CASES / "labels.txt", "labels.txt") == ("cat", "dog", "snake: the : long", "œuf")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\xfcc", "f:2:2: not UTF-8 text: byte 0xfc; save the file as UTF-8"),
        ("ä".encode() + b"\xff", "f:1:2: not UTF-8 text: byte 0xff; save the file as UTF-8"),
        (b"\xef\xbb\xbf\xff", "f:1:1: not UTF-8 text: byte 0xff; save the file as UTF-8"),
        ("name".encode("utf-16"), "f: is UTF-16 text: save it as UTF-8"),
        ("name".encode("utf-16-be"), "f:1:1: a zero byte: this is no UTF-8 text"),
        (b"\xed\xa0\x80", "f:1:1: not UTF-8 text: byte 0xed; save the file as UTF-8"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    for read in (read_text, read_lines):
        with pytest.raises(InvalidArgumentError) as caught:
            read(write(tmp_path, content), "f")
        assert caught.value.message == message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^f: cannot be read: No such file or directory$"):
        read_text(tmp_path / "missing", "f")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"# \xfcber\nx: 1 # \xff\n", "# \ufffdber\nx: 1 # \ufffd\n"),
        (b"x: 'a # b' # \xe9", "x: 'a # b' # \ufffd"),
        (b'x: "\\" # " # \xe9', 'x: "\\" # " # \ufffd'),
        (b"x: 'it' # it's \xe9\ny: 'z' # \xe9", "x: 'it' # it's \ufffd\ny: 'z' # \ufffd"),
    ],
)
def test_comments_may_be_in_any_encoding(tmp_path: Path, content: bytes, expected: str) -> None:
    assert read_text(write(tmp_path, content), "f", comments=True) == expected


@pytest.mark.parametrize("content", [b"x: '\xe9'", b"x: '# \xe9'", b'x: "# \xe9" # \xe9', b"x\xe9: 1"])
def test_what_is_no_comment_must_be_utf8(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="not UTF-8 text: byte 0xe9"):
        read_text(write(tmp_path, content), "f", comments=True)
