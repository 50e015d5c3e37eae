"""Where fields stand in the text of a configuration."""

import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kserve_v2.checking.origins import leaves
from kserve_v2.config import ConfigError, parse_config
from kserve_v2.config.places import Place, find_places
from tests.checking.broken import CASES

TEXT = """\
# a comment { with brackets [
name: "a" max_batch_size: 8
input [
  { name: "x", dims: [ 1,
      -1 ] },
  { name: 'y' dims: 3 dims: 4 reshape { shape: [] } }
]
output < name: "z" "z" dims: - 1 >
parameters: { value: { string_value: "late" } key: "k\\"1" }
parameters [ { key: 'two' "parts" value { string_value: "}" } } ]
dynamic_batching { priority_queue_policy { key: 0x2 value { max_queue_size: 3 } } }
ensemble_scheduling { step { input_map { key: "a" value: "b" } } step [ { model_name: "m" }, { } ] }
unknown { input { name: "not this" } } backend: "python"
metric_tags { key: "t" value: "v" }
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ("name", 2, 1),
        ("max_batch_size", 2, 11),
        ("input", 3, 1),
        ("input[0]", 4, 3),
        ("input[0].name", 4, 5),
        ("input[0].dims", 4, 16),
        ("input[0].dims[0]", 4, 24),
        ("input[0].dims[1]", 5, 7),
        ("input[1]", 6, 3),
        ("input[1].dims", 6, 15),
        ("input[1].dims[0]", 6, 15),
        ("input[1].dims[1]", 6, 23),
        ("input[1].reshape.shape", 6, 41),
        ("output[0].name", 8, 10),
        ("output[0].dims[0]", 8, 24),
        ("parameters['k\"1']", 9, 1),
        ("parameters['k\"1'].string_value", 9, 24),
        ("parameters['twoparts']", 10, 14),
        ("dynamic_batching.priority_queue_policy['2'].max_queue_size", 11, 61),
        ("ensemble_scheduling.step[0].input_map['a']", 12, 30),
        ("ensemble_scheduling.step[1].model_name", 12, 75),
        ("ensemble_scheduling.step[2]", 12, 94),
        ("backend", 13, 40),
        ("metric_tags['t']", 14, 1),
    ],
)
def test_a_field_is_found(path: str, line: int, column: int) -> None:
    assert find_places(TEXT).of(path) == Place(line, column)


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("input[1].data_type", "input[1]"),
        ("input[1].reshape.shape[3]", "input[1].reshape.shape"),
        ("parameters['twoparts'].inputs['ids'].dim", "parameters['twoparts']"),
        ("parameters['unknown.key']", "parameters"),
        ("dynamic_batching.default_priority_level", "dynamic_batching"),
        ("input['hidden']", "input"),
    ],
)
def test_what_is_not_written_is_looked_for_where_it_would_stand(path: str, nearest: str) -> None:
    places = find_places(TEXT)
    assert places.of(path) is None
    assert places.nearest(path) == places.of(nearest) is not None


def test_what_is_nowhere_near() -> None:
    assert find_places(TEXT).nearest("version_policy.latest") is None


@pytest.mark.parametrize(
    ("text", "balanced"),
    [
        (TEXT, True),
        ("", True),
        ("input { name: 3", False),
        ("input [ { }", False),
        ("}", False),
        ("input { dims: [ } ", False),
        ('name: "a', True),
        ("=", True),
        ("input", True),
        ("input:", True),
        ('input [ "', False),
        ('parameters [ "', False),
        ('input [ : ] name: "a"', True),
        ("parameters { key: value }", True),
    ],
)
def test_malformed_texts_are_read_to_their_end(text: str, balanced: bool) -> None:
    assert find_places(text).balanced == balanced


def test_the_innermost_field_is_around_a_place() -> None:
    found = find_places(TEXT).around(5, 7)
    assert found is not None
    assert (found.path, TEXT[found.start : found.end]) == ("input[0].dims", "dims: [ 1,\n      -1 ]")
    assert find_places(TEXT).around(1, 3) is None
    assert find_places(TEXT).around(99, 1) is None


# --- any text ---------------------------------------------------------------------------------------------------------

PIECES = [
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ":",
    ",",
    ";",
    '"',
    "'",
    "#",
    "\n",
    " ",
    "-",
    "\\",
    "input",
    "dims",
    "key",
    "é",
]


# protobuf takes an escape that is none, as \{, as it is written, and Python warns protobuf of that.
@pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")
@settings(max_examples=100, deadline=None)
@example([(TEXT.index("\\") + 1, 0, "{")])
@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 9), st.sampled_from(PIECES)), max_size=6))
def test_no_text_is_too_broken(edits: list[tuple[int, int, str]]) -> None:
    """Places are found, or not; and a configuration is read, or refused with one line for each mistake."""
    text = TEXT
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    places = find_places(text)
    lines = text.split("\n")
    for path in places.paths():
        place = places.of(path)
        assert place is not None
        assert 1 <= place.column <= len(lines[place.line - 1])
    try:
        config = parse_config(text, "c")
    except ConfigError as error:
        assert error.message == "\n".join(error.problems)
        assert len(error.problems) == len(set(error.problems)) < 40
    else:
        assert [path for path in leaves(config) if places.of(path) is None] == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "m/config.pbtxt" in case.files])
def test_whatever_can_be_read_has_its_places(name: str) -> None:
    text = CASES[name].files["m/config.pbtxt"]
    if isinstance(text, str):
        with suppress(ConfigError):
            config = parse_config(text, "c")
            assert [path for path in leaves(config) if find_places(text).of(path) is None] == []


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called, which is as good a measure as time and the same on every machine."""
    number = 0

    def count(*_: object) -> None:
        nonlocal number
        number += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return number


def _parse(text: str) -> None:
    with suppress(ConfigError):
        parse_config(text, "c")


@pytest.mark.slow
@pytest.mark.parametrize("read", [find_places, _parse])
@pytest.mark.parametrize(
    "text",
    [
        lambda n: 'parameters { key: "a" value { ' * n,
        lambda n: "zzz { " * n + "}" * n,
        lambda n: "zzz: [" * n,
        lambda n: "dims: " + "[" * n,
        lambda n: "{" * n,
        lambda n: "zzz: 1 yyy { }\n" * n,
        lambda n: "inputt { }\n" * n,
        lambda n: 'input { name: "a" dims: [ 1 ] }\n' * n,
        lambda n: "".join(f'parameters {{ key: "{i}" value {{ string_value: "v" }} }}\n' for i in range(n)),
    ],
)
def test_twice_the_text_is_twice_the_work(text: Callable[[int], str], read: Callable[[str], object]) -> None:
    read(text(10))
    assert _calls(lambda: read(text(600))) < 2.5 * _calls(lambda: read(text(300))) + 1000


def test_many_mistakes_of_a_long_text_end() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("max_batch_size: x\n" * 5000, "c")
    *found, last = caught.value.problems
    assert last == "c: there may be more mistakes than these"
    assert found[1].startswith("c:2:17: 'max_batch_size: x'")


def test_what_only_looks_like_an_unknown_field_hides_no_mistake() -> None:
    text = "zzz: 1\nmax_batch_size: 8 9 yyy: 2\nmax_batch_size: { xxx: 1 }\nwww: 3\n"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    assert [problem.partition(": ")[0] for problem in caught.value.problems[:2]] == ["c:2:19", "c:2:24"]
