"""What models say of the answers that carry what they give, as far as HTTP can say it: headers and statuses.

A model may have made them of what a client has sent: nothing in them begins another header, or another answer.
"""

import logging
import re
from collections.abc import Iterable

logger = logging.getLogger(__name__)

BODYLESS = frozenset({204, 304})
"""Statuses of answers that end with their headers: what came behind those would be taken for the next answer."""

OWN_HEADERS = frozenset({"content-length", "connection", "transfer-encoding", "content-type"})
"""What the server says of an answer itself."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def header_of(name: str, value: str) -> tuple[bytes, bytes] | None:
    """A header as it is sent; None for one that HTTP does not have. What is beyond Latin-1 is sent as `?`."""
    encoded = value.encode("latin-1", "replace")
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(encoded) is None:
        return None
    return name.lower().encode(), encoded


def sendable_headers(said: Iterable[tuple[str, str]], whose: str) -> list[tuple[bytes, bytes]]:
    """Headers as they are sent. Those that HTTP does not have are left out, and said in the log, with `whose` answer it
    is.
    """
    headers: list[tuple[bytes, bytes]] = []
    for name, value in said:
        header = header_of(name, value)
        if header is not None:
            headers.append(header)
        else:
            logger.warning("%s: its answer's header %r is left out: it is no header of HTTP", whose, name)
    return headers


def status_of(said: int) -> int:
    """The status of an answer, 500 in the place of one that none can have: below 200 it would announce another one."""
    return said if 200 <= said <= 599 else 500
