"""The body of a load call: a configuration, and files in base64."""

import asyncio
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.lifecycle.load_request import NO_FILES, LoadRequest
from kserve_v2.repository.uploads.names import PREFIX, shown
from kserve_v2.rest.members import optional

# Characters that are decoded without a break; a multiple of four.
_AT_ONCE = 1 << 20


async def load_request(document: Mapping[str, Any], check: Callable[[Sequence[str]], None]) -> LoadRequest:
    """What a load call brings along. `check` gets the names of its files, if there are any, before they are decoded.
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
        if not isinstance(value, str) and not (name == "config" and value is None):
            raise InvalidArgumentError(
                f"invalid value type for load parameter '{shown(name)}', expected a string"
            )

    def decoded() -> dict[str, bytes]:
        return {name: _bytes(name, parameters[name]) for name in files}

    return LoadRequest(parameters.get("config"), await asyncio.to_thread(decoded) if files else NO_FILES)


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
