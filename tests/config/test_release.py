"""Releases as they are written: what is read, what is refused and in which words, and how one is changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.config.release import (
    NO_RELEASE,
    Release,
    Shadow,
    Split,
    Sticky,
    Tolerance,
    changed_release,
    configured_release,
    is_label,
    parse_release,
    read_release,
    release_json,
    release_problems,
)
from kserve_v2.errors import InvalidArgumentError

WHOLE = {
    "labels": {"PROD": 2, "STG": 3},
    "split": {"shares": {"2": 90, "3": 10}, "sticky": {"header": "X-User-Id"}},
    "shadow": {
        "version": 3,
        "percent": 12.5,
        "labels": ["PROD"],
        "max_requests": 4,
        "tolerance": {"absolute": 0.5, "outputs": {"y": {"relative": 0.25}}},
    },
}


def test_all_of_it_is_read() -> None:
    assert read_release(WHOLE) == Release(
        {"PROD": 2, "STG": 3},
        Split({2: 90.0, 3: 10.0}, Sticky(header="x-user-id")),
        Shadow(3, 12.5, ("PROD",), 4, Tolerance(0.5, 1e-5), {"y": Tolerance(0.5, 0.25)}),
    )


def test_what_is_left_out_is_as_documented() -> None:
    assert read_release({}) == NO_RELEASE
    assert not NO_RELEASE
    assert read_release({"labels": None, "split": None, "shadow": None}) == NO_RELEASE
    shadow = read_release({"shadow": {"version": 1}}).shadow
    assert shadow == Shadow(1, 100.0, (), 16, Tolerance(1e-6, 1e-5), {})


def test_what_it_names_is_told() -> None:
    assert read_release(WHOLE).versions == (2, 3)
    assert read_release({"labels": {"A": 9}, "split": {"shares": {"4": 100, "5": 0}}}).versions == (4, 5, 9)


WRONG: list[tuple[Any, str]] = [
    ([], "the release: expected a JSON object, got []"),
    ({"label": {}}, 'unknown member "label", expected labels or split or shadow'),
    ({"labels": [1]}, "labels: expected a JSON object, got [1]"),
    (
        {"labels": {"PROD": "3"}},
        "labels['PROD']: expected a version, which is a whole number from 1, got \"3\"",
    ),
    ({"labels": {"PROD": 0}}, "labels['PROD']: expected a version, which is a whole number from 1, got 0"),
    (
        {"labels": {"PROD": True}},
        "labels['PROD']: expected a version, which is a whole number from 1, got true",
    ),
    (
        {"labels": {"PROD": 3.0}},
        "labels['PROD']: expected a version, which is a whole number from 1, got 3.0",
    ),
    (
        {"labels": {"PROD": 10**18}},
        "labels['PROD']: expected a version, which is a whole number from 1, got 1000",
    ),
    (
        {"labels": {"3": 3}},
        "labels: expected a label, which is a letter and up to 63 more letters, digits or any of _ . -",
    ),
    ({"split": 3}, "split: expected a JSON object, got 3"),
    ({"split": {"2": 90, "3": 10}}, 'split: unknown member "2", expected shares or sticky'),
    ({"split": {}}, "split.shares: expected an object with the per cent of each version, got nothing"),
    (
        {"split": {"shares": {"PROD": 100}}},
        'split.shares: expected a version, which is a whole number from 1, got "PROD"',
    ),
    (
        {"split": {"shares": {"02": 100}}},
        'split.shares: expected a version, which is a whole number from 1, got "02"',
    ),
    ({"split": {"shares": {"2": 90}}}, "split.shares: expected per cent that are 100 together, got 90"),
    (
        {"split": {"shares": {"2": 101, "3": -1}}},
        "split.shares['2']: expected per cent, a number from 0 to 100, got 101",
    ),
    (
        {"split": {"shares": {"2": "100"}}},
        "split.shares['2']: expected per cent, a number from 0 to 100, got \"100\"",
    ),
    (
        {"split": {"shares": {"2": float("nan")}}},
        "split.shares['2']: expected per cent, a number from 0 to 100, got NaN",
    ),
    (
        {"split": {"shares": {"2": 100}, "sticky": "x"}},
        'split.sticky: expected a JSON object, got "x"',
    ),
    (
        {"split": {"shares": {"2": 100}, "sticky": {"header": "a", "parameter": "b"}}},
        'split.sticky: expected exactly one of header and parameter, got "header, parameter"',
    ),
    (
        {"split": {"shares": {"2": 100}, "sticky": {"header": "a b"}}},
        'split.sticky.header: expected the name of a header whose values are text, got "a b"',
    ),
    (
        {"split": {"shares": {"2": 100}, "sticky": {"header": "user-bin"}}},
        'split.sticky.header: expected the name of a header whose values are text, got "user-bin"',
    ),
    ({"shadow": {}}, "shadow.version: expected a version, which is a whole number from 1, got nothing"),
    (
        {"shadow": {"version": 3, "labels": ["PROD"]}},
        'shadow.labels: expected labels of the model (there are none), got "PROD"',
    ),
    (
        {"shadow": {"version": 3, "max_requests": 0}},
        "shadow.max_requests: expected a whole number from 1 to 1024, got 0",
    ),
    (
        {"shadow": {"version": 3, "tolerance": {"absolute": -1}}},
        "shadow.tolerance.absolute: expected a difference, a number from 0, got -1",
    ),
    (
        {"shadow": {"version": 3, "tolerance": {"outputs": {"y": {"abs": 1}}}}},
        "shadow.tolerance.outputs['y']: unknown member \"abs\", expected absolute or relative",
    ),
    ({"labels": {f"L{n}": 1 for n in range(65)}}, "labels: expected up to 64 members, got 65"),
]


@pytest.mark.parametrize(("document", "problem"), WRONG)
def test_what_is_wrong_is_named(document: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_release(document)
    assert caught.value.message.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is no JSON: "),
        ("", "is no JSON: "),
        ('{"labels": {"A": 1, "A": 2}}', '"A": is there twice'),
        ("[" * 100_000, "is "),
        (b"\xff\xfe", "is no JSON: "),
    ],
)
def test_what_is_no_release_at_all(text: str | bytes, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_release(text)
    assert caught.value.message.startswith(problem)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("PROD", True), ("a", True), ("v1.2-rc_3", True), ("x" * 64, True),
        ("", False), ("3", False), ("3a", False), ("-a", False), ("a b", False), ("a/b", False), ("é", False),
        ("x" * 65, False), ("a\n", False),
    ],
)  # fmt: skip
def test_labels_are_never_taken_for_versions(text: str, answer: bool) -> None:
    assert is_label(text) is answer


CHANGES: list[tuple[Any, Any]] = [
    ({}, WHOLE),
    ({"labels": {"STG": 4}}, {**WHOLE, "labels": {"PROD": 2, "STG": 4}}),
    ({"labels": {"STG": None}}, {**WHOLE, "labels": {"PROD": 2}}),
    ({"split": None}, {name: WHOLE[name] for name in ("labels", "shadow")}),
    ({"split": {"shares": {"3": 100}}}, {**WHOLE, "split": {"shares": {"3": 100}}}),
    ({"shadow": None, "labels": None}, {"split": WHOLE["split"]}),
    ({"shadow": {"version": 2}}, {**WHOLE, "shadow": {"version": 2}}),
]


@pytest.mark.parametrize(("change", "result"), CHANGES)
def test_what_a_change_does_not_name_stays(change: Any, result: Any) -> None:
    assert changed_release(read_release(WHOLE), change) == read_release(result)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"label": {"A": 1}}, "unknown member"),
        ({"labels": {"A": "1"}}, "labels['A']: expected a version"),
        ({"labels": {"PROD": None}}, 'shadow.labels: expected labels of the model (STG), got "PROD"'),
        (
            {"labels": {"NO": None}},
            'labels: expected a label of the model to take away (PROD, STG), got "NO"',
        ),
        ({"labels": 3}, "labels: expected a JSON object, got 3"),
    ],
)
def test_a_change_is_checked_as_a_whole(change: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        changed_release(read_release(WHOLE), change)
    assert caught.value.message.startswith(problem)


VERSIONS = st.integers(1, 9)
LABELS = st.dictionaries(st.from_regex(r"[A-Z]{1,3}", fullmatch=True), VERSIONS, max_size=3)
TOLERANCES = st.builds(Tolerance, st.floats(0, 1e3), st.floats(0, 1e3))


@st.composite
def releases(draw: st.DrawFn) -> Release:
    labels = draw(LABELS)
    split = shadow = None
    if draw(st.booleans()):
        share = draw(st.integers(0, 100))
        sticky = draw(st.sampled_from([None, Sticky(header="x-a"), Sticky(parameter="user")]))
        split = Split({1: float(share), 2: 100.0 - share}, sticky)
    if draw(st.booleans()):
        outputs = draw(st.dictionaries(st.sampled_from(["y", "z"]), TOLERANCES))
        named = tuple(sorted(labels))[:1]
        shadow = Shadow(
            draw(VERSIONS),
            draw(st.floats(0, 100)),
            named,
            draw(st.integers(1, 1024)),
            draw(TOLERANCES),
            outputs,
        )
    return Release(labels, split, shadow)


@given(releases())
def test_what_is_written_is_read_again(release: Release) -> None:
    assert parse_release(json.dumps(release_json(release))) == release


def test_a_configuration_may_have_one() -> None:
    config = parse_config(
        """parameters { key: "release" value { string_value: '{"labels": {"PROD": 2}}' } }""", "c"
    )
    assert configured_release(config) == Release({"PROD": 2})
    assert list(release_problems(config)) == []
    assert configured_release(parse_config("", "c")) == NO_RELEASE


def test_a_wrong_one_in_a_configuration_is_a_problem_of_that() -> None:
    config = parse_config("""parameters { key: "release" value { string_value: '{"lables": {}}' } }""", "c")
    (problem,) = release_problems(config)
    assert (
        str(problem) == "parameters['release']: unknown member \"lables\", expected labels or split or shadow"
    )
