"""Quotation marks of protobuf text format that are not closed: everything behind one is read as something else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_v2.config.skip import STRING

# A comment, of another language's kind, too, as in "// don't"; a string; or a mark that belongs to none.
_TOKEN = re.compile(
    rf"""#[^\n]*|^[^\S\n]*(?://|/\*|--|;)[^\n]*|(?P<string>{STRING.pattern})|(?P<open>["'])[^\n]*""",
    re.MULTILINE,
)
_WORD = re.compile(r"\w")
# A line that says something by itself, and does not go on with a text.
_FIELD = re.compile(r"\s*\w+\s*[:{<]")


@dataclass(frozen=True, slots=True)
class Unclosed:
    """A quotation mark that lacks another one in its line, where a string ends at the latest. `place`: its line and
    column; `suspect`: the place from which on nothing is what it was meant to be; `why`: what is wrong.
    """

    place: tuple[int, int]
    suspect: tuple[int, int]
    why: str


def unclosed_quotes(text: str) -> list[Unclosed]:
    """One for each line that has any: that which was probably forgotten; and one for a string over several lines. Lines
    end at line feeds, as for the parser.
    """
    lines = text.split("\n")
    found: list[Unclosed] = []
    for each in _alone(text):
        if found and (end := _end_of(found[-1], each, lines)):
            found[-1] = end
        else:
            found.append(each)
    return found


def _end_of(begin: Unclosed, mark: Unclosed, lines: Sequence[str]) -> Unclosed | None:
    """The string that begins with one mark and is closed by another one, or has it in it, in a line behind; None if
    that is not what was meant. No line between says something by itself.
    """
    (first, column), (last, end) = begin.place, mark.place
    if begin.suspect != begin.place or any(_FIELD.match(line) for line in lines[first:last]):
        return None
    opening, here = lines[first - 1][column - 1], lines[last - 1]
    if here[end - 1] != opening and not here[: end - 1].endswith("\\"):
        return None
    why = (
        f"'{lines[first - 1]}': the string that begins with this {opening} is not closed in its line, but goes on: "
        "write it in one line, with \\n where it has line breaks, or each line as a string of its own"
    )
    return Unclosed(begin.place, begin.suspect, why)


def _alone(text: str) -> list[Unclosed]:
    found: list[Unclosed] = []
    number = start = 0
    strings: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text):
        if passed := text.count("\n", start, token.start()):
            number, start = number + passed, text.rfind("\n", start, token.start()) + 1
            strings.clear()
        if token["string"]:
            strings.append(token)
        elif token["open"]:
            # The last one of the line is alone. But of `key: "a value { string_value: "b"`, what is not closed is in
            # front of the a, and the b touches what is taken for a string.
            column = next((each.start() for each in strings if _touches(text, each)), token.start()) - start
            found.append(_unclosed(text[start:].partition("\n")[0], number + 1, column))
    return found


def _unclosed(line: str, number: int, column: int) -> Unclosed:
    """The mark at a column of a line, which is counted from 0."""
    mark, word = line[column], re.search(r"\w*$", line[:column])
    before = word[0] if word else ""
    why = f"the string that begins with this {mark} is not closed: it lacks another one in its line"
    if before:
        why = f"no string begins in front of this {mark}: write {mark}{before}{mark}, or leave it out"
    return Unclosed((number, column + 1), (number, column + 1 - len(before)), f"'{line}': {why}")


def _touches(text: str, string: re.Match[str]) -> bool:
    around = text[max(0, string.start() - 1) : string.start()] + text[string.end() : string.end() + 1]
    return _WORD.search(around) is not None
