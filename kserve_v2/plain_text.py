"""Texts of others, such as the names of files and what libraries say, as they can stand on a terminal and in a log."""

import re

# Control characters, and those that have text run the other way, or end a line for some programs.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
_IN_LINES = re.compile(f"[{_UNSAFE}]")
_IN_A_LINE = re.compile(f"[{_UNSAFE}\t\n]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str) -> str:
    """A text in which whatever would move a terminal's cursor, or hide something, is escaped. Lines stay lines, and
    JSON stays the same JSON.
    """
    return _IN_LINES.sub(_escaped, text)


def in_a_line(text: str) -> str:
    """The same for a text that must not begin another line."""
    return _IN_A_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    # JSON has no raw control characters below a space, and knows this spelling for the others.
    return _SHORT.get(found[0], f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}")
