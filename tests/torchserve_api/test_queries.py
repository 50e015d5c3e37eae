import pytest

from kserve_v2.torchserve_api.errors import TorchServeError
from kserve_v2.torchserve_api.queries import (
    all_values,
    amount,
    flag,
    form_fields,
    number,
    parse_body,
    parse_query,
)


def test_the_first_of_a_name_counts() -> None:
    assert parse_query(b"url=a%20b.mar&batch_size=4&batch_size=5&x&=y&z=1+2%2B") == {
        "url": "a b.mar", "batch_size": "4", "x": "", "z": "1 2+",
    }  # fmt: skip
    assert all_values(b"name[]=a&name%5B%5D=b", "name[]") == ["a", "b"]


def test_fields_of_forms_need_values() -> None:
    """As TorchServe has it: `curl -d x` is a row without fields; but a name that is not the last has an empty one."""
    assert form_fields(b"x") == []
    assert form_fields(b"c&a=1&") == [("c", b""), ("a", b"1")]
    assert form_fields(b"a=1&b=%ff&a=2") == [("a", b"1"), ("b", b"\xff"), ("a", b"2")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2147483647", 2**31 - 1),
        ("2147483648", None),
        ("9" * 5000, None),
        ("4", 4),
        ("0", None),
        ("-1", None),
        ("x", None),
        ("", None),
        ("4.0", None),
    ],
)
def test_what_is_no_number_is_nothing(text: str, expected: int | None) -> None:
    assert number({"n": text}, "n", 1) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4", 4), ("0", 0), ("-1", 0), ("-2147483648", 0), ("-2147483649", None), ("x", None), ("", None)],
)
def test_less_than_none_is_none(text: str, expected: int | None) -> None:
    assert amount({"n": text}, "n") == expected


def test_members_of_a_body() -> None:
    found = parse_body(b'{"url": "m.mar", "initial_workers": 1, "synchronous": true, "handler": null}')
    assert found == {"url": "m.mar", "initial_workers": "1", "synchronous": "true"}
    assert flag(found, "synchronous")
    for body in (b"{", b"[]", b"1", b"[" * 100_000):
        with pytest.raises(TorchServeError) as caught:
            parse_body(body)
        assert caught.value.code == 400


def test_a_form_has_no_more_fields_than_any_has() -> None:
    assert len(form_fields(b"&".join([b"a=1"] * 1000))) == 1000
    with pytest.raises(TorchServeError, match="more than 1000 fields"):
        form_fields(b"a=1&" * 1000)
