"""Large BYTES tensors behind the JSON of a request, read in slices, and in answers, written in slices. What is wrong
with a request is left to those who decode it.
"""

from typing import Any

import orjson

from kserve_v2.memory.large_texts import LargeTexts, read_raw
from kserve_v2.rest.codec import Body, TextsByPlace
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices

# Longer JSON is not looked into twice.
_MOST_JSON_BYTES = 64 * 1024
_MOST_LENGTH_DIGITS = 20


def json_before(body: Body, header_length: bytes) -> bytes:
    """The JSON of a body that may have BYTES tensors behind it; b"" of any other."""
    if not header_length.isdigit() or len(header_length) > _MOST_LENGTH_DIGITS:
        return b""
    length = int(header_length)
    text = bytes(body[:length]) if length <= min(_MOST_JSON_BYTES, len(body)) else b""
    return text if b'"BYTES"' in text else b""


def read_texts(body: Body, header_length: bytes, room: Room) -> Slices[TextsByPlace]:
    """The large ones among them."""
    text = json_before(body, header_length)
    try:
        places = _places(orjson.loads(text)) if text else []
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return {}
    binary = memoryview(body)[len(text) :]
    found: dict[tuple[int, int], LargeTexts] = {}
    for begin, size in places:
        if begin + size <= len(binary):
            texts = yield from read_raw(binary[begin : begin + size], room)
            if texts is not None:
                found[begin, size] = texts
    return found


def _places(document: Any) -> list[tuple[int, int]]:
    """Where they are, and their sizes. Raises AttributeError, KeyError or TypeError for what is no request."""
    places: list[tuple[int, int]] = []
    begin = 0
    for item in document["inputs"]:
        size = item.get("parameters", {}).get("binary_data_size", 0)
        if type(size) is not int or size < 0:
            raise TypeError
        if size > SLICE_BYTES and item["datatype"] == "BYTES":
            places.append((begin, size))
        begin += size
    return places
