"""Texts in JSON mean to a model's process what they mean to Python's `json`, whether its interpreter has orjson or not."""

import json
import math
from datetime import date
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_v2_child import json_text

AROUND_64_BITS = [
    sign * (2**bits + more) for sign in (1, -1) for bits in (53, 63, 64, 65) for more in (-1, 0, 1)
]

TEXTS = [
    b"",
    b" ",
    b"0",
    b"-0",
    b"-0.0",
    b"1.0",
    b"1e5",
    b"1E+2",
    b"1e400",
    b"[-1e400]",
    b"5e-324",
    b"1.",
    b".5",
    b"+1",
    b"01",
    b"[1,]",
    b"NaN",
    b"[Infinity, -Infinity]",
    b'{"a": 1, "b": 2, "a": 3}',
    b'{"a": {"a": [true, false, null]}}',
    b"{1: 2}",
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\u0000"',
    b'"\x00"',
    b'"a\nb"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    "\ufeff[1]".encode(),
    "[\u2003]".encode(),
    b"[1]\x00",
    b"[1] [2]",
    b"{broken",
    b"9999999999999999999",
    b"99999999999999999999",
    b"[1234567890123456789012]",
    b"[0.1234567890123456789012, 123456789012345678901234.5]",
    b"-123456789012345678901234e-5",
    b"1" * 5000,
    *(str(number).encode() for number in AROUND_64_BITS),
    *(f"[{number}]".encode() for number in AROUND_64_BITS),
    *(f'{{"a":{number},"b":0.{abs(number)}}}'.encode() for number in AROUND_64_BITS),
]


def meaning(read: Any, text: bytes) -> tuple[str, str]:
    """What a text means, with the types, as only what is the very same looks alike; or that it means nothing."""
    try:
        return "value", repr(read(text))
    except ValueError:
        return "error", ""


def as_python(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"))


@pytest.fixture(params=[True, False], ids=["orjson", "without"])
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json_text._quick is not None
    if not request.param:
        monkeypatch.setattr(json_text, "_quick", None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:30].decode("latin-1"))
def test_a_text_means_what_python_says(text: bytes) -> None:
    assert meaning(json_text.loads, text) == meaning(as_python, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON, escaped=st.booleans(), indent=st.sampled_from([None, 1]))
@settings(deadline=None)
def test_a_value_comes_back(value: Any, escaped: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    assert meaning(json_text.loads, text) == meaning(as_python, text)


@given(st.text('0123456789.,-+eE[]{} ":ntrufalsINy\\', max_size=60).map(str.encode))
@settings(deadline=None)
def test_almost_json_means_the_same(text: bytes) -> None:
    assert meaning(json_text.loads, text) == meaning(as_python, text)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
@settings(deadline=None)
def test_numbers_are_the_very_same(numbers: list[float]) -> None:
    found = json_text.loads(json.dumps(numbers).encode())
    assert [(each, math.copysign(1, each)) for each in found] == [
        (each, math.copysign(1, each)) for each in numbers
    ]


@pytest.mark.usefixtures("quick")
def test_what_is_nested_without_end_is_no_reason_to_die() -> None:
    with pytest.raises((ValueError, RecursionError)):
        json_text.loads(b"[" * 200_000)


class Whole(int, Enum):
    ONE = 1


class Color(Enum):
    RED = "red"


class Loud(str):
    def __str__(self) -> str:
        raise AssertionError("nobody asks it")


WRITTEN = [
    {},
    {"a": [1, -1, 2**63, 2**64, -(2**64), 10**30, True, None, "null", 0.1, 1e300]},
    {"a": ("b", ("c",)), "é": "\ud800", "": "\U0001f600\0\x7f"},
    {"a": math.nan, "b": [math.inf, -math.inf]},
    {1: 2, False: 3, None: 4, 0.5: 6},
    {"a": Whole.ONE, "b": Color.RED, "c": Loud("c"), "d": UUID(int=5)},
]


@pytest.mark.parametrize("value", WRITTEN, ids=repr)
def test_what_is_written_means_the_same_whoever_writes_and_reads(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = json_text.dumps(value)
    found = repr(json_text.loads(quick))
    monkeypatch.setattr(json_text, "_quick_text", None)
    plain = json_text.dumps(value)
    assert repr(json_text.loads(plain)) == found
    monkeypatch.setattr(json_text, "_quick", None)
    assert repr(json_text.loads(quick)) == repr(json_text.loads(plain)) == found


@pytest.mark.parametrize("writer", ["orjson", "without"])
@pytest.mark.parametrize(
    "value", [{"a": {1}}, {"a": b""}, {"a": 1j}, {"a": date(2024, 1, 1)}, {(1,): 2}], ids=repr
)
def test_what_json_does_not_have_is_refused(value: Any, writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if writer == "without":
        monkeypatch.setattr(json_text, "_quick_text", None)
    with pytest.raises(TypeError):
        json_text.dumps(value)


@given(value=st.dictionaries(st.text(max_size=4), JSON, max_size=4))
@settings(deadline=None)
def test_any_value_comes_back(value: Any) -> None:
    assert repr(json_text.loads(json_text.dumps(value))) == repr(as_python(json.dumps(value).encode()))
