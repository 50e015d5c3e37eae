"""Quotation marks that are not closed: each is told once, where it stands, and nothing is made of what is behind it."""

import logging

import pytest
from google.protobuf import text_format
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kserve_v2._generated._pool import POOL
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import ConfigError, parse_config
from kserve_v2.config.quotes import unclosed_quotes

PLACES = {
    'backend: "python': [(1, 10)],
    "backend: 'python": [(1, 10)],
    'max_batch_size: 8\n\n  backend: "python\nname: "m"\n': [(3, 12)],
    'name: "m\nbackend: "python\nmax_batch_size: 8': [(1, 7), (2, 10)],
    'backend: python"': [(1, 16)],
    'max_batch_size: "8': [(1, 17)],
    'max_batch_size "8': [(1, 16)],
    'input { name: "x data_type: TYPE_FP32 dims: [ 4 ] }': [(1, 15)],
    'parameters { key: "a value { string_value: "b" } }': [(1, 19)],
    'parameters { key: "a" value { string_value: "it\'s } }': [(1, 45)],
    'input [ { name: "x, dims: [ "4" ] } ]': [(1, 17)],
    'input { name: x" data_type: "y" }': [(1, 16)],
    'default_model_filename: "a\\"': [(1, 25)],
    'name: "m" "n': [(1, 11)],
    # One string over several lines; and two that are not.
    'name: "a\nb"\nbackend: "python"': [(1, 7)],
    "name: 'a\n\nb'\n": [(1, 7)],
    'parameters { key: "a" value { string_value: "one\ntwo" } }': [(1, 45)],
    'parameters { key: "a" value { string_value: "{\n  \\"b\\": 1,\n  \\"c\\": 2\n}" } }': [(1, 45)],
    'name: "a\nb"\ndefault_model_filename: "c\nd"': [(1, 7), (3, 25)],
    'name: "a\nbackend: python"': [(1, 7), (2, 16)],
    "name: \"a\n'b": [(1, 7), (2, 1)],
    # These are closed, or none.
    "name: 'm' 'n'": [],
    'name: "it\'s"': [],
    "name: 'say \"yes\"'": [],
    'name: "a\\"b"': [],
    'name: "m" # "don\'t': [],
    "// don't": [],
    '  -- the "model': [],
    "": [],
}


@pytest.mark.parametrize("text", PLACES)
def test_where_they_are(text: str) -> None:
    assert [each.place for each in unclosed_quotes(text)] == PLACES[text]


@pytest.mark.parametrize("text", [text for text, places in PLACES.items() if places])
def test_they_are_all_that_is_said(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError) as error:
        parse_config(text, "c")
    assert [problem.split(": ")[0] for problem in error.value.problems] == [
        f"c:{line}:{column}" for line, column in PLACES[text]
    ]
    assert caplog.records == []


def test_what_is_in_front_of_one_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    text = 'max_batchsize: 8\nnew_field: 1 name: "m\nanother: 1\nmax_batchsiz: 1'
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError) as error:
        parse_config(text, "c")
    unknown, quote = error.value.problems
    assert unknown == "c:1:1: unknown field 'max_batchsize' in ModelConfig; did you mean 'max_batch_size'?"
    assert quote.startswith(
        "c:2:20: 'new_field: 1 name: \"m': the string that begins with this \" is not closed"
    )
    assert [record.getMessage() for record in caplog.records] == [
        "c:2:1: unknown field 'new_field' in ModelConfig is ignored"
    ]


def test_one_in_a_field_that_is_skipped_is_no_less_an_error() -> None:
    with pytest.raises(ConfigError, match=r'c:1:12: .* the string that begins with this " is not closed'):
        parse_config('new_field: "', "c")


@settings(deadline=None)
@given(st.text(st.sampled_from("\"'\\#a:{ /-;\n"), max_size=40))
def test_no_line_has_more_than_one_and_each_is_a_quotation_mark(text: str) -> None:
    places = [each.place for each in unclosed_quotes(text)]
    lines = text.split("\n")
    assert [line for line, _ in places] == sorted({line for line, _ in places})
    assert all(lines[line - 1][column - 1] in "\"'" for line, column in places)


_MARKS = st.sampled_from("\"'")
_CONTENTS = st.lists(
    st.sampled_from(
        ["a", " ", '"', "'", '\\"', "\\'", "\\\\", "#", "//", ";", "{", "\\n", "\r", "\f", "\u2028", "é"]
    ),
    max_size=4,
).map("".join)
_STRINGS = st.builds(lambda mark, content: f"{mark}{content}{mark}", _MARKS, _CONTENTS)
_GAPS = st.sampled_from(["", " ", "\n", "\r\n", "\t", " # don't\n", '# "x\r\n', "# a \\\n", "\n#'\n"])
# Strings that stand beside each other are one.
_VALUES = st.lists(st.tuples(_STRINGS, _GAPS), min_size=1, max_size=3).map(
    lambda parts: "".join(part for pair in parts for part in pair)
)
_FIELDS = st.one_of(
    st.builds(
        lambda name, gap, value, end: f"{name}:{gap}{value}{end}",
        st.sampled_from(["name", "backend", "unheard_of"]), _GAPS, _VALUES, st.sampled_from(["\n", ";", ",", "\n; "]),
    ),
    st.builds(
        lambda message, gap, key, value, end: (
            f"{message} {{ key: {key}{gap}value {{ string_value: {value} }} }}{end}"
        ),
        st.sampled_from(["parameters", "never_met"]), _GAPS, _VALUES, _VALUES, st.sampled_from(["", ",", "\n"]),
    ),
    st.builds("unheard_of: [ {}, {} ]{}".format, _VALUES, _VALUES, st.sampled_from(["", ";"])),
    _GAPS,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(_FIELDS, max_size=3).map("".join), st.sampled_from(["", "name", "name:'", 'zz: "']))
@example("unheard_of: 8;", "")
@example("input { unheard_of: [ 1, 2 ], dims: [ 1 ] }", "")
@example("max_batch_size: 1, never_met { a: 1 }; name: 'x'", "")
def test_whatever_protobuf_reads_is_read_as_it_reads_it(text: str, end: str) -> None:
    """With fields of a newer schema in it, whose end is found here."""
    text += end
    expected = ModelConfig()
    try:
        text_format.Parse(text, expected, descriptor_pool=POOL, allow_unknown_field=True)
    except text_format.ParseError:
        assume(False)
    assert parse_config(text, "c") == expected
