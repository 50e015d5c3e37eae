"""Names in paths: what is encoded in them, and how often."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.rest.endpoint import decode_path, name_in_path


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"step", "step"),
        (b"50%25", "50%"),
        (b"first%2Fstep", "first/step"),
        (b"first%2fstep", "first/step"),
        (b"first%252Fstep", "first%2Fstep"),
        (b"first%252fstep", "first%2fstep"),
        (b"first%25252Fstep", "first%252Fstep"),
        (b"a%2Fb%252Fc", "a/b%2Fc"),
    ],
)
def test_a_slash_is_one_that_was_encoded_once(sent: bytes, name: str) -> None:
    assert name_in_path(decode_path(sent)) == name


@given(st.lists(st.sampled_from(["/", "%", "2", "F", "f", "25", "a", "é", " "])).map("".join))
def test_every_name_that_is_encoded_once_is_that_name(name: str) -> None:
    decoded = decode_path(quote(name, safe="").encode())
    assert "/" not in decoded
    assert name_in_path(decoded) == name
