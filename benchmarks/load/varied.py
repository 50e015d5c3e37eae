"""Traffic whose requests differ as those of real clients do: one definition, for both protocols.

A proxy gives each request a trace and an id, a user brings a token, a client of gRPC says how much time is left. None
of that changes the answer, and all of it changes the bytes.
"""

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice

DISTINCT = 20_000
"""How many requests there are before the first of them comes again: more than a server may want to remember."""

TOKEN_BYTES = 800
TOKEN_REQUESTS = 20
"""So many requests in a row bring the same token."""

_SEED = 18
_DEADLINE_US = 5_000_000
_BASE64_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Headers = Mapping[str, str]
"""Names in lower case, as HTTP/2 has them."""


def identical() -> Iterator[Headers]:
    """Nothing of its own."""
    while True:
        yield {}


def traced() -> Iterator[Headers]:
    """A `traceparent` (W3C Trace Context) and the id that a proxy gives, each only once."""
    numbers = random.Random(_SEED)
    while True:
        trace, span = numbers.getrandbits(128), numbers.getrandbits(64)
        request_id = uuid.UUID(int=numbers.getrandbits(128), version=4)
        yield {"traceparent": f"00-{trace:032x}-{span:016x}-01", "x-request-id": str(request_id)}


def tokens() -> Iterator[Headers]:
    """The token of a user, for some requests, then another one's."""
    numbers = random.Random(_SEED)
    while True:
        token = "".join(numbers.choices(_BASE64_LETTERS, k=TOKEN_BYTES))
        for _ in range(TOKEN_REQUESTS):
            yield {"authorization": f"Bearer {token}"}


def deadlines() -> Iterator[Headers]:
    """For gRPC: what is left of five seconds, in microseconds, as Go's client says it."""
    numbers = random.Random(_SEED)
    while True:
        yield {"grpc-timeout": f"{_DEADLINE_US - numbers.randrange(1, 4_000_000)}u"}


KINDS: Mapping[str, Callable[[], Iterator[Headers]]] = {
    "identical": identical,
    "traced": traced,
    "tokens": tokens,
    "deadlines": deadlines,
}


@lru_cache(maxsize=len(KINDS))
def headers_of(kind: str) -> tuple[Headers, ...]:
    """What each of DISTINCT requests has of its own; the same in every run. One, if they are identical."""
    return tuple(islice(KINDS[kind](), 1 if kind == "identical" else DISTINCT))
