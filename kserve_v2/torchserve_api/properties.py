"""TorchServe's config.properties as text: Java's format of properties, which are texts by name and nothing else.

Nothing of it is executed, evaluated or looked up, but for `$$NAME$$` in values, which is a variable of the environment.
"""

import re
from collections.abc import Iterator, Mapping

_VARIABLE = re.compile(r"\$\$([A-Za-z_][A-Za-z0-9_]*)\$\$")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_BLANKS = " \t\f"


class PropertiesError(ValueError):
    """The text is none. The message names the line."""


def parse_properties(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """All properties; of those that are there twice, the last. Raises PropertiesError."""
    found: dict[str, str] = {}
    for number, line in _logical_lines(text):
        key, value = _split(line)
        found[_unescaped(key, number)] = substituted(_unescaped(value, number).strip(), environ)
    return found


def substituted(value: str, environ: Mapping[str, str]) -> str:
    """A value with variables of the environment in it. One that is not set stays as it is written."""
    return _VARIABLE.sub(lambda match: environ.get(match[1], match[0]), value)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor comments, with their numbers; one that ends in a backslash goes on."""
    whole, start = "", 0
    for number, natural in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = natural.lstrip(_BLANKS)
        if not whole and (not line or line[0] in "#!"):
            continue
        start = start or number
        if (len(line) - len(line.rstrip("\\"))) % 2:
            whole += line[:-1]
            continue
        yield start, whole + line
        whole, start = "", 0
    if whole:
        yield start, whole


def _split(line: str) -> tuple[str, str]:
    """Key and value, still escaped: between them are blanks, or one `=` or `:`, or both."""
    escaped = False
    for place, letter in enumerate(line):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in "=:" or letter in _BLANKS:
            rest = line[place:].lstrip(_BLANKS)
            return line[:place], rest[1:].lstrip(_BLANKS) if rest[:1] in ("=", ":") else rest
    return line, ""


def _unescaped(text: str, line: int) -> str:
    parts = text.split("\\")
    whole, rest = parts[0], parts[1:]
    while rest:
        part = rest.pop(0)
        if not part:
            # A backslash that stands for itself, and what is behind it.
            whole += "\\" + (rest.pop(0) if rest else "")
        elif part[0] == "u":
            if _HEX.match(part, 1) is None:
                raise PropertiesError(
                    f"line {line}: expected four hexadecimal digits behind \\u, got {part[1:5]!r}"
                )
            whole += chr(int(part[1:5], 16)) + part[5:]
        else:
            whole += _ESCAPES.get(part[0], part[0]) + part[1:]
    # Two halves of one character.
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
