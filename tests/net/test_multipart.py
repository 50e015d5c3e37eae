"""Forms: what other programs write is read as it was meant, and what is none is refused, whatever it is."""

import email.message
import email.policy

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.multipart import MAX_PART_HEADERS, MAX_PARTS, Part, media_type, read_form
from kserve_v2.scheduling.slices import at_once

BOUNDARY = "b0undary"


def form(*parts: bytes, end: bytes = b"--b0undary--\r\n") -> bytes:
    return b"".join(b"--b0undary\r\n" + part + b"\r\n" for part in parts) + end


def field(name: bytes, data: bytes = b"", more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + data


def test_a_form() -> None:
    image = bytes(range(256)) * 3
    body = form(
        field(b"text", "hällo".encode()),
        field(b"image", image, b'; filename="c a t.jpg"\r\nContent-Type: image/jpeg'),
        field(
            b"note", b"x", b"\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit"
        ),
        field(b"empty"),
    )
    assert at_once(read_form(body, BOUNDARY)) == [
        Part("text", data="hällo".encode()),
        Part("image", "c a t.jpg", "image/jpeg", data=image),
        Part("note", None, "text/plain", "utf-8", b"x", "8bit"),
        Part("empty"),
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"; filename*=UTF-8''%e2%82%ac%20rates.txt", "€ rates.txt"),
        (b"; FileName* = utf-8'en'a;b=c", "a"),
        (b"; filename=plain.txt; filename*=utf-8''other.txt", "plain.txt"),
        (b"; filename*=%e2", None),
        (b"", None),
    ],
)
def test_names_of_files_that_are_not_ascii(said: bytes, expected: str | None) -> None:
    [part] = at_once(read_form(form(field(b"a", b"x", said)), BOUNDARY))
    assert (part.name, part.filename) == ("a", expected)


# httpx escapes what RFC 7578 does not.
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\'), min_size=1, max_size=20
)


@pytest.mark.slow
@given(st.lists(st.tuples(NAMES, st.binary(max_size=200)), min_size=1, max_size=8))
@example([("a", b"\r\n--"), ("a", b"--"), ("a", b"\r\n"), ("a", b"\r"), ("a", b"\n--b0undary")])
def test_what_httpx_writes(fields: list[tuple[str, bytes]]) -> None:
    sent = httpx.Request("POST", "http://x", files=[(name, ("f", data)) for name, data in fields])
    kind, options = media_type(sent.headers["content-type"].encode())
    assert kind == "multipart/form-data"
    found = at_once(read_form(sent.read(), options["boundary"]))
    assert [(part.name, part.data) for part in found] == fields


def test_what_the_standard_library_writes() -> None:
    message = email.message.MIMEPart(email.policy.HTTP)
    message["Content-Type"] = "multipart/form-data"
    for name, text in (("a", "one\r\ntwo\r\n"), ("b", "")):
        part = email.message.MIMEPart(email.policy.HTTP)
        part["Content-Disposition"] = f'form-data; name="{name}"'
        part.set_payload(text)
        message.attach(part)
    raw = message.as_bytes(policy=email.policy.HTTP)
    head, _, body = raw.partition(b"\r\n\r\n")
    _, options = media_type(head.partition(b":")[2].strip())
    assert [(part.name, part.data) for part in at_once(read_form(body, options["boundary"]))] == [
        ("a", b"one\r\ntwo\r\n"), ("b", b""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the form does not begin with the boundary that its Content-Type names, 'b0undary'"),
        (b"--other\r\n", "does not begin with the boundary"),
        (form(field(b"a", b"x"))[:-5], "the form is cut off: the boundary that ends it is missing"),
        (form(end=b"--b0undary\r\n"), "the form is cut off"),
        (form(b"\r\nx"), "field 1 of the form has no name"),
        (form(field(b"a"), field(b"")), "field 2 of the form has no name"),
        (form(field(b"\xff")), "the name of field 1 of the form is not UTF-8"),
        (form(*[field(b"a")] * (MAX_PARTS + 1)), f"the form has more than {MAX_PARTS} fields"),
        (b"--b0undary" + b"\r\n--b0undaryX" * 100_000, f"the form has more than {MAX_PARTS} fields"),
        (form(b"A: b\r\n" * (MAX_PART_HEADERS + 1) + b"\r\n"), "the form cannot be read: Maximum header count"),
        (form(field(b"a" * 2000)), "the form cannot be read: Maximum header size exceeded"),
        (form(b"no colon\r\n\r\n"), "the form cannot be read: "),
    ],
)  # fmt: skip
def test_what_is_no_form(body: bytes, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        at_once(read_form(body, BOUNDARY))
    assert text in caught.value.message


def test_as_many_fields_as_there_may_be() -> None:
    assert len(at_once(read_form(form(*[field(b"a", b"x")] * MAX_PARTS), BOUNDARY))) == MAX_PARTS


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ü"])
def test_boundaries_that_are_none(boundary: str) -> None:
    with pytest.raises(InvalidArgumentError, match="needs a boundary of 1 to 70 characters"):
        at_once(read_form(b"--x\r\n", boundary))


PIECES = st.sampled_from(
    [b"--b0undary", b"\r\n", b"--", b"-", b"\r", b"\n", b":", b";", b" ", b'"', b"Content-Disposition",
     b": form-data; name=a", b"name=", b"Content-Type: ", b"charset=", b"\0", b"\xff", b"a", b'filename="', b"\\"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=100))
def test_anything_is_read_or_refused(rest: bytes) -> None:
    for body in (
        rest,
        b"--b0undary\r\n" + rest,
        form(rest),
        form(field(b"a", rest)),
        form(field(b"a", b"", rest)),
    ):
        try:
            parts = at_once(read_form(body, BOUNDARY))
        except InvalidArgumentError:
            continue
        assert sum(len(part.data) for part in parts) <= len(body)
        assert all(part.name for part in parts)


def read_or_told(body: bytes, slice_bytes: int) -> list[Part] | str:
    try:
        return at_once(read_form(memoryview(bytearray(body)), BOUNDARY, slice_bytes))
    except InvalidArgumentError as error:
        return error.message


@pytest.mark.parametrize(
    "body",
    [
        form(
            field(b"a", b"\r\n--b0undar\r\n--b0undarX\r\n--b0undary0\r\n-\r-", b'; filename="f;\\".png"'),
            field(b"a"),
            field(b"a", b"1", b"\r\nContent-Type: image/png; charset=utf-8"),
        ),
        b"\r\n\r\n" + form(field(b"a", b"--b0undary--b0undary\r\n")) + b"epilogue\r\n--b0undary\r\n",
        b"--b0undary  \r\n" + field(b"a", b"x\r\n--b0undary \r\n") + field(b"b", b"y") + b"\r\n--b0undary--",
        form(field(b"a", b"x"))[:-5],
        form(field(b"a", b"x"), b"A: b\r\n" * (MAX_PART_HEADERS + 1) + b"\r\n"),
        form(field(b"a", b"x"), b"no colon\r\n\r\n"),
        form(field(b"a", b"x"), b": none\r\n\r\n"),
        form(field(b"a" * 1000)),
        form(*[field(b"a", b"x")] * (MAX_PARTS + 1)),
    ],
)
def test_slices_of_any_size_find_the_same(body: bytes) -> None:
    expected = read_or_told(body, len(body))
    for size in range(1, min(len(body), 200)):
        assert read_or_told(body, size) == expected, size


@given(st.lists(PIECES, max_size=40).map(b"".join), st.integers(1, 50))
def test_slices_of_anything_find_the_same(rest: bytes, size: int) -> None:
    for body in (b"--b0undary\r\n" + rest, form(rest), form(field(b"a", rest)), form(field(b"a", b"", rest))):
        assert read_or_told(body, size) == read_or_told(body, len(body))


def test_a_delimiter_that_overlaps_itself_is_counted_the_same() -> None:
    body = b"--\r\n" + b"-" * (4 * MAX_PARTS) + field(b"a", b"x") + b"\r\n----"
    for boundary in ("-", "--", "---"):
        told = set[str]()
        for size in (1, 2, 3, 5, 7, 1000):
            with pytest.raises(InvalidArgumentError) as caught:
                at_once(read_form(body, boundary, size))
            told.add(caught.value.message)
        assert len(told) == 1


@given(st.binary(max_size=80))
def test_any_content_type_is_read(header: bytes) -> None:
    kind, options = media_type(header)
    assert kind == kind.lower()
    assert all(name == name.lower() for name in options)
