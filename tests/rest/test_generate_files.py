"""Bodies of any type: each is read as what its Content-Type says, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.rest.file_kinds import kind_of_file
from kserve_v2.rest.generate_answer import file_wanted
from kserve_v2.rest.generate_codec import request_of
from kserve_v2.rest.generate_files import is_file, parse_form, read_body
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import at_once

SIGNATURE = ModelSignature(
    parse_config(
        'name: "m" max_batch_size: 4 input [ { name: "file" data_type: TYPE_STRING dims: 1 }, '
        '{ name: "n" data_type: TYPE_INT32 dims: 1 optional: true } ] output { name: "y" data_type: TYPE_FP32 dims: 1 }',
        "test",
    )
)


@pytest.mark.parametrize(
    ("header", "file"),
    [
        (b"image/png", True),
        (b" Audio/WAV ; rate=1", True),
        (b"video/mp4", True),
        (b"multipart/form-data; boundary=a", True),
        (b"application/json", False),
        (b"application/octet-stream", False),
        (b"text/plain", False),
        (b"", False),
        (b"images/png", False),
    ],
)
def test_what_is_a_file(header: bytes, file: bool) -> None:
    assert is_file(header) is file


TYPES = st.sampled_from(
    [b"image/png", b"audio/wav; a=b", b"multipart/form-data; boundary=b", b"multipart/mixed", b"application/json", b"",
     b"multipart/form-data", b'multipart/form-data; boundary="b', b"text/plain", b"image/", b"IMAGE/PNG;;=;"]
) | st.binary(max_size=30)  # fmt: skip
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b'{"file": "a"}', b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
     b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n7\r\n--b--\r\n', b"--b--", b'{"file": {"b64": "eA=="}}']
)  # fmt: skip


@pytest.mark.slow
@given(BODIES, TYPES)
def test_any_body_of_any_type_is_read_or_refused(body: bytes, content_type: bytes) -> None:
    for form in (body, bytearray(body), memoryview(body)):
        try:
            said = read_body(form, content_type, SIGNATURE)
            request = request_of(said, SIGNATURE, "m", "")
        except InvalidArgumentError:
            continue
        assert set(request.inputs) <= {"file", "n"}
        if content_type.startswith((b"image/", b"audio/")):
            assert request.inputs["file"].tolist() == [[body]]


def fields_of(*fields: tuple[str, bytes]) -> bytes:
    heads = (
        b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % name.encode() for name, _ in fields
    )
    return (
        b"".join(head + data + b"\r\n" for head, (_, data) in zip(heads, fields, strict=True)) + b"--b--\r\n"
    )


NUMBERS = [
    b" [1, 2,\r\n3, 4] ", b"[[1], [2], [3], [-4]]", b"[1, 2.5, 3]", b"[1, true]", b"[1, null]", b'["1", "2"]', b"[[1], 2]",
    b"[[1, 2], [3]]", b"[]", b"[1, 2", b"[1, 2]]", b"[1, 2] 3", b"[1, 2] [3]", b"[1,, 2]", b"[1, NaN]", b"[1, Infinity]",
    b"[4294967296, 1]", b"[123456789012345678901234567890]", b"\xef\xbb\xbf[1, 2]", b"\xff[1, 2]", b'{"b64": "eA=="}', b"7",
    b"[" * 120 + b"1" + b"]" * 120, b"[{}, 1, 2]", b'[1, "]", 2]', b"[1, 2]\x00", b"", b"    ",
]  # fmt: skip


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("times", [1, 2])
def test_lists_in_forms_are_the_same_in_slices(numbers: bytes, times: int) -> None:
    body, kind = fields_of(("file", b"[1, 2]"), *[("n", numbers)] * times), b"multipart/form-data; boundary=b"

    def answer(slice_bytes: int | None) -> object:
        try:
            form = (
                at_once(parse_form(body, kind, SIGNATURE, slice_bytes=slice_bytes)) if slice_bytes else None
            )
            request = request_of(read_body(body, kind, SIGNATURE, form), SIGNATURE, "m", "")
        except InvalidArgumentError as error:
            return error.message
        return {name: (array.dtype, array.tolist()) for name, array in request.inputs.items()}

    expected = answer(None)
    assert [answer(size) for size in (1, 2, 3, 5, 8, 1000)] == [expected] * 6


def test_long_lists_in_forms_are_read_in_slices() -> None:
    """Where there is room for them, and where they are those of an input of numbers."""
    numbers = str(list(range(1000))).encode()
    kind = b"multipart/form-data; boundary=b"
    body = fields_of(("file", numbers), ("n", numbers), ("parameters", numbers))
    assert set(at_once(parse_form(body, kind, SIGNATURE, slice_bytes=100)).lists) == {"n"}
    assert not at_once(parse_form(body, kind, SIGNATURE, lambda _: False, 100)).lists
    assert not at_once(parse_form(fields_of(*[("n", numbers)] * 2), kind, SIGNATURE, slice_bytes=100)).lists


@given(st.binary(max_size=60) | st.text("imageaudio/*,;q=0.123 ", max_size=40).map(str.encode))
def test_any_accept_header_is_read(header: bytes) -> None:
    wanted = file_wanted(header)
    assert wanted is None or all(kind.startswith(("image/", "audio/", "video/")) for kind in wanted.types)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\n\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\n\0\0\0WAVEfmt ", "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b'--x\r\ncontent-disposition: form-data; name="a"', "multipart/form-data"),
        (b'{"a": 1}', ""),
        (b"-- not a form", ""),
        (b"", ""),
    ],
)
def test_files_by_their_first_bytes(body: bytes, kind: str) -> None:
    assert kind_of_file(body) == kind
