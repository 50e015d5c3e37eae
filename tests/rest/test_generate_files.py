"""Bodies of any type: each is read as what its Content-Type says, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.rest.file_kinds import kind_of_file
from kserve_v2.rest.generate_accept import file_wanted
from kserve_v2.rest.generate_codec import request_of
from kserve_v2.rest.generate_files import is_file, read_body
from kserve_v2.scheduling.signature import ModelSignature

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
