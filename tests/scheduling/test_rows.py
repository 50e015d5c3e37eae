"""ROWS.md, the table of facts about scheduling, names tests that exist, and leaves no fact out."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TEXT = (HERE / "ROWS.md").read_text()

# How many facts each part has. Part 12 has a table of kinds instead.
PARTS = {1: 10, 2: 13, 3: 19, 4: 6, 5: 15, 6: 8, 7: 7, 8: 19, 9: 9, 10: 6, 16: 11}


def _rows(part: int) -> set[int]:
    """The numbers of a part's rows. "3.2, 3.3" and "3.10 to 3.12" are more than one."""
    found: set[int] = set()
    for cell in re.findall(r"^\| ([\d., to]+) \|", TEXT, re.MULTILINE):
        numbers = [int(number) for number in re.findall(rf"\b{part}\.(\d+)\b", cell)]
        found.update(range(numbers[0], numbers[-1] + 1) if " to " in cell and numbers else numbers)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_every_fact_has_a_row(part: int) -> None:
    assert _rows(part) == set(range(1, PARTS[part] + 1))


def test_every_name_is_there() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "tests").rglob("*.*")}
    sources = "".join(path.read_text() for path in files.values() if path.suffix == ".py")
    named = re.findall(r"`([\w/]+\.(?:py|toml))`", TEXT)
    assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []
    tests = set(re.findall(r"`((?:test_|Test)\w+)`", TEXT))
    assert sorted(tests - set(re.findall(r"(?:def|class) (\w+)", sources))) == []
    assert len(tests) > 150
