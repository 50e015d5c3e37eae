"""Files by the bytes that they begin with: what an answer is called, and words for errors. No input is read by it."""

import re

FILE_TYPES = ("image/", "audio/", "video/")
"""How the media types begin of what is one file."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"(?:II\*\x00|MM\x00\*)", "image/tiff"),
    (rb"BM....\x00\x00\x00\x00", "image/bmp"),
    (rb"....ftypavif", "image/avif"),
    (rb"....ftyp(?:heic|heix|mif1)", "image/heic"),
    (rb"RIFF....WAVE", "audio/wav"),
    (rb"(?:ID3|\xff[\xfb\xf3\xf2])", "audio/mpeg"),
    (rb"fLaC", "audio/flac"),
    (rb"OggS", "audio/ogg"),
    (rb"....ftyp", "video/mp4"),
    (rb"%PDF-", "application/pdf"),
    (rb"--[^\r\n]{1,70}\r\nContent-Disposition: *form-data", "multipart/form-data"),
)

_KINDS = re.compile(b"|".join(b"(%b)" % pattern for pattern, _ in _SIGNATURES), re.DOTALL | re.IGNORECASE)

_SHOWN_BYTES = 256


def kind_of_file(body: bytes | bytearray | memoryview) -> str:
    """The media type of a file that is not JSON, as it seems; "" for none that is known."""
    found = _KINDS.match(bytes(body[:_SHOWN_BYTES]))
    return _SIGNATURES[found.lastindex - 1][1] if found is not None and found.lastindex else ""
