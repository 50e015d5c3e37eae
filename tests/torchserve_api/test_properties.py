"""Expectations: Java's `java.util.Properties.load`, and TorchServe's documentation of its configuration."""

import pytest

from kserve_v2.torchserve_api.properties import PropertiesError, parse_properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# a comment\n! another one\n\n   \n", {}),
        ("a=b", {"a": "b"}),
        ("a = b ", {"a": "b"}),
        ("a:b", {"a": "b"}),
        ("a b c", {"a": "b c"}),
        ("a", {"a": ""}),
        ("a=b=c:d", {"a": "b=c:d"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1\na=2", {"a": "2"}),
        ("  a = one\\\n    two", {"a": "onetwo"}),
        ("a=one\\\\\nb=2", {"a": "one\\", "b": "2"}),
        ("a=no # comment", {"a": "no # comment"}),
        (r"path=c\:\\models", {"path": "c:\\models"}),
        (r"a\ b\=c=d", {"a b=c": "d"}),
        (r"a=caf\u00e9\tx", {"a": "café\tx"}),
        (r"a=\ud83d\ude00", {"a": "😀"}),
        ("store=$$HOME$$/models", {"store": "/home/me/models"}),
        ("store=$$NOSUCH$$/models", {"store": "$$NOSUCH$$/models"}),
        ("price=$5", {"price": "$5"}),
    ],
)
def test_reads_the_format_of_java(text: str, expected: dict[str, str]) -> None:
    assert parse_properties(text, {"HOME": "/home/me"}) == expected


def test_json_over_several_lines() -> None:
    text = (
        'models={\\\n  "noop": {\\\n    "1.0": {\\\n        "minWorkers": 1\\\n    }\\\n  }\\\n}\nother=1\n'
    )
    found = parse_properties(text, {})
    assert found == {"models": '{"noop": {"1.0": {"minWorkers": 1}}}', "other": "1"}


def test_names_the_line_of_what_is_none() -> None:
    with pytest.raises(
        PropertiesError, match=r"^line 2: expected four hexadecimal digits behind \\u, got '12'$"
    ):
        parse_properties("a=1\nb=\\u12", {})
