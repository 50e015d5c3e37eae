"""The one reader of text files that people write: configurations, labels.

UTF-8, with or without the byte order mark that some editors put in front, with the line ends of any system.
"""

import re
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.regular_files import read_regular

_BYTE_ORDER_MARK = "\ufeff"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# A byte that is not UTF-8, as Python decodes it.
_ESCAPED = re.compile("[\udc80-\udcff]")
_STRING_OR_COMMENT = re.compile(r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?P<comment>#[^\n]*)""")


def read_text(path: Path, shown: str, *, comments: bool = False) -> str:
    r"""Return the text of a file, with `\n` at the end of each line.

    With `comments`, what stands behind a `#` outside of quotes may be in any encoding: its bytes that are not UTF-8
    become U+FFFD. Raises InvalidArgumentError for a file that cannot be read or is no text; the message names
    `shown`, never the path.
    """
    try:
        content = read_regular(path)
    except OSError as error:
        raise InvalidArgumentError(f"{shown}: cannot be read: {error.strerror}") from None
    if content.startswith(_UTF_16):
        raise InvalidArgumentError(f"{shown}: is UTF-16 text: save it as UTF-8")
    text = content.decode("utf-8", "surrogateescape").removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n")
    if comments:
        text = _STRING_OR_COMMENT.sub(_mend_comment, text)
    if wrong := re.search(r"\0", text):
        raise InvalidArgumentError(
            f"{shown}:{_position(text, wrong.start())}: a zero byte: this is no UTF-8 text"
        )
    if wrong := _ESCAPED.search(text):
        byte = ord(wrong[0]) & 0xFF
        place = _position(text, wrong.start())
        raise InvalidArgumentError(
            f"{shown}:{place}: not UTF-8 text: byte 0x{byte:02x}; save the file as UTF-8"
        )
    return text


def read_lines(path: Path, shown: str) -> tuple[str, ...]:
    r"""Return the lines of a file, which end with `\n` or `\r\n` and nothing else; otherwise as `read_text`."""
    text = read_text(path, shown)
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _mend_comment(found: re.Match[str]) -> str:
    return found[0] if found["comment"] is None else _ESCAPED.sub("\ufffd", found[0])


def _position(text: str, offset: int) -> str:
    """Line and column, both from 1."""
    return f"{text.count(chr(10), 0, offset) + 1}:{offset - text.rfind(chr(10), 0, offset)}"
