"""The body of a load call: what is read in slices is what is read in one go, or its error."""

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.text import parsed
from kserve_v2.rest.load_body import load_request, parse_load
from kserve_v2.scheduling.slices import at_once

pytestmark = pytest.mark.usefixtures("in_words_of_large_texts")

CONTENT = bytes(range(200))
CODED = base64.b64encode(CONTENT).decode()
TEXTS = [
    CODED,
    CODED[:-1],
    CODED + "=",
    CODED[:-2] + "==" + CODED,
    CODED.replace("A", "A\n"),
    " " + CODED,
    "é" * 30,
    "a" * 63,
]


def no_check(_: Sequence[str]) -> None:
    """All may be sent."""


def read(text: bytes, found: Any) -> Any:
    """What is brought along, or the error."""
    try:
        document = parsed(text, found)
        if not isinstance(document, dict):
            return type(document)
        request = asyncio.run(load_request(document, no_check))
    except InvalidArgumentError as error:
        return error.message
    return request.config, dict(request.files)


def check_the_same(text: bytes, short_bytes: int) -> bool:
    """Returns whether it was read in slices."""
    found = at_once(parse_load(text, lambda _: True, short_bytes))
    assert found is None or read(text, found) == read(text, None)
    return isinstance(found, dict)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_any_kind(text: str) -> None:
    in_slices = False
    for parameters in (
        {"file:1/a": text},
        {"config": "{}", "file:1/a": text, "file:1/b": "YQ=="},
        {"config": text, "file:1/a": text},
        {"config": None, "file:1/a": text, "other": 1},
        {"file:1/a": [text]},
        {"file:1/a": text, "x": text},
        {text: "a"},
        [text],
        text,
    ):
        for ascii_only in (False, True):
            body = json.dumps({"parameters": parameters}, ensure_ascii=ascii_only).encode()
            for written in (
                body,
                body.replace(b"/", b"\\/"),
                body[:-2],
                body.replace(b"}", b",}"),
                body + b"x",
            ):
                in_slices |= check_the_same(written, 16)
    assert in_slices or text != CODED


def test_files_are_read_in_slices() -> None:
    body = json.dumps({"parameters": {"config": "{}", "file:1/model.py": CODED}}).encode()
    found = at_once(parse_load(body, lambda _: True, 16))
    assert read(body, found) == ("{}", {"file:1/model.py": CONTENT})
    assert at_once(parse_load(body, lambda _: False, 16)) is None


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_what_is_damaged(data: st.DataObject) -> None:
    """One byte is another, or too much, or missing."""
    damaged = bytearray(
        json.dumps({"parameters": {"config": "{}", "file:1/a": CODED, "file:b": CODED[:40]}}).encode()
    )
    at = data.draw(st.integers(0, len(damaged) - 1))
    new = data.draw(st.sampled_from([b"", *(bytes([each]) for each in b'",:{}[]\\= \n\x01\xff0')]))
    damaged[at : at + data.draw(st.integers(0, 1))] = new
    check_the_same(bytes(damaged), data.draw(st.sampled_from([8, 16, 60])))
