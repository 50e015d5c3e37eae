"""The body of a load call: a configuration, and files in base64."""

import asyncio
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.base64_texts import decoded_in_slices
from kserve_v2.json_data.broken import or_error
from kserve_v2.json_data.long_texts import SHORT_BYTES, Found, parse_long_texts
from kserve_v2.json_data.text import letters_of
from kserve_v2.json_data.values import LongText
from kserve_v2.repository.lifecycle.load_request import NO_FILES, LoadRequest
from kserve_v2.repository.uploads.names import PREFIX, shown
from kserve_v2.rest.members import optional
from kserve_v2.scheduling.slices import Room, Slices

# Characters that are decoded without a break; a multiple of four.
_AT_ONCE = 1 << 20


def parse_load(body: bytes | bytearray, room: Room, short_bytes: int = SHORT_BYTES) -> Slices[Any]:
    """The document in a large body, with LongTexts in the place of files, or the error if it is no JSON. None where it
    is to be read in one go. `short_bytes`: see `parse_long_texts`.
    """
    return or_error(parse_long_texts(body, room, _fill, short_bytes))


def _fill(document: dict[str, Any], found: Found, room: Room) -> Slices[bool]:
    """See `long_texts.Fill`."""
    parameters = document.get("parameters")
    if type(parameters) is not dict:
        return False
    for name, value in parameters.items():
        if type(value) is str and value in found and name.startswith(PREFIX):
            text = found.pop(value)
            decoded = yield from decoded_in_slices(letters_of(text), len(text), room, lines=False)
            if not isinstance(decoded, bytes):
                return False
            parameters[name] = LongText(text, decoded)
    return True


async def load_request(document: Mapping[str, Any], check: Callable[[Sequence[str]], None]) -> LoadRequest:
    """What a load call brings along. `check` gets the names of its files, if there are any, first of all.
    Raises InvalidArgumentError, and what `check` raises.
    """
    parameters = optional(document, "parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidArgumentError(
            "attempt to get members for non-object: 'parameters' must be a JSON object"
        )
    files = [name for name in parameters if name.startswith(PREFIX)]
    if files:
        check(files)
    for name, value in parameters.items():
        if name != "config" and not name.startswith(PREFIX):
            raise InvalidArgumentError(f"unrecognized load parameter '{shown(name)}'.")
        if not isinstance(value, str | LongText) and not (name == "config" and value is None):
            raise InvalidArgumentError(
                f"invalid value type for load parameter '{shown(name)}', expected a string"
            )

    read = {
        name: value.decoded
        for name, value in parameters.items()
        if isinstance(value, LongText) and isinstance(value.decoded, bytes)
    }

    def decoded() -> dict[str, bytes]:
        return {name: read[name] if name in read else _bytes(name, parameters[name]) for name in files}

    contents = decoded() if len(read) == len(files) else await asyncio.to_thread(decoded)
    return LoadRequest(parameters.get("config"), contents or NO_FILES)


def _bytes(name: str, text: str) -> bytes:
    """The bytes that a text is the base64 of. Piece by piece: each of them holds up all threads."""
    decoded = bytearray()
    try:
        for start in range(0, len(text), _AT_ONCE):
            piece = text[start : start + _AT_ONCE]
            if "=" in piece and start + _AT_ONCE < len(text):
                raise binascii.Error("it goes on behind its end")
            decoded += binascii.a2b_base64(piece, strict_mode=True)
    except ValueError as error:
        raise InvalidArgumentError(
            f"load parameter '{shown(name)}' is not base64 (with + and /, padded, and without line breaks, as `base64 "
            f"-w0 FILE` writes it): {str(error).lower()}"
        ) from None
    return bytes(decoded)
