"""What load is sent through: a connection with one request at a time."""

import json
import re
from contextlib import suppress
from typing import Protocol

from kserve_v2.plain_text import in_a_line

Outcome = str | None
"""Of a request: None for a right answer, otherwise why it failed."""

_SHOWN = 100
_REQUEST_ID = re.compile(r"\[request id: [^\]]*\] ?")
"""In the texts of errors, ours and Triton's: no two of them are the same."""


class Sender(Protocol):
    """One connection. `reconnects`: how often it had to be opened again because the server had closed it."""

    reconnects: int

    async def open(self) -> None:
        """Connect; `ask` does it as well where it has to. Raises OSError."""
        ...

    async def ask(self, request: bytes) -> Outcome:
        """Send a request and wait for the answer. Raises nothing: whatever happens is an outcome."""
        ...

    async def close(self) -> None:
        """For good."""
        ...


def shortened(what: str, content: bytes) -> str:
    """A reason with what the server says of it, short enough that the same reason looks the same."""
    text = content.decode(errors="replace").strip()
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"])
    text = _REQUEST_ID.sub("", text)
    line = in_a_line(text.splitlines()[0]) if text else ""
    return f"{what}: {line[:_SHOWN]}" if line else what
