"""Texts of others on a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.plain_text import in_a_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 模型\tand\nlines", "plain é 模型\tand\nlines"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("over\rwritten", "over\\rwritten"),
        ("\x9b31m", "\\u009b31m"),
        ("model\u202exnno.\x7f", "model\\u202exnno.\\u007f"),
    ],
)
def test_what_a_terminal_acts_upon_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_name_stays_in_its_line() -> None:
    assert in_a_line("a\n1 model checked: 0 errors\tx") == "a\\n1 model checked: 0 errors\\tx"


@given(st.text())
def test_json_stays_the_same(text: str) -> None:
    assert json.loads(visible(json.dumps([text], ensure_ascii=False, indent=2))) == [text]
    assert all(each.isprintable() or each >= " " for each in in_a_line(text))
