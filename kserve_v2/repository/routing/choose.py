"""Which version answers a request that names none, where several share them: pure functions.

Requests with a key are split by weighted rendezvous hashing: each version draws lots with the key, a greater share has
better odds, and the best lot wins. So every server, and every process of one, chooses alike without knowing of the
others; and a key goes from one version to another only if the share of the other has grown against that of the first.
If a version is not there, its keys are split among the others by their shares, nobody else's move, and it gets them
back.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence

from kserve_v2.config.release import Sticky

Headers = Sequence[tuple[bytes, bytes]] | Sequence[tuple[str, str | bytes]]
"""Of HTTP, or metadata of gRPC; names in small letters."""

_LOTS = 2**64


def choose(model: str, shares: Mapping[int, float], key: bytes) -> int:
    """The version that answers requests with this key. `shares`: of the versions that are there, at least one of them
    above 0. `model`: its name, so that another model's canary gets other keys.
    """
    drawn = {version: _lot(model, version, key) / share for version, share in shares.items() if share > 0}
    return min(drawn, key=lambda version: (drawn[version], version))


def _lot(model: str, version: int, key: bytes) -> float:
    """A number above 0 that is distributed exponentially, the same for ever."""
    name = f"{model}\0{version}\0".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(name + key, digest_size=8).digest()
    return -math.log((int.from_bytes(digest, "big") + 0.5) / _LOTS)


def pick(shares: Mapping[int, float], drawn: float) -> int:
    """The version that answers a request without a key. `shares`: as for `choose`. `drawn`: a random number from 0 up
    to, but not including, 1.
    """
    left = drawn * math.fsum(shares.values())
    usable = [version for version in sorted(shares) if shares[version] > 0]
    for version in usable:
        left -= shares[version]
        if left < 0:
            return version
    # Only by rounding.
    return usable[-1]


def present(shares: Mapping[int, float], there: Collection[int]) -> dict[int, float]:
    """The shares of the versions that are there, empty if none of them gets anything."""
    return {
        version: shares[version] for version in sorted(shares) if version in there and shares[version] > 0
    }


def key_of(sticky: Sticky | None, parameters: Mapping[str, object], headers: Headers) -> bytes | None:
    """What a request says of whom it is for, the same over both protocols; None if it says nothing. Of a header that is
    there several times the first one counts.
    """
    if sticky is None:
        return None
    if sticky.parameter:
        value = parameters.get(sticky.parameter)
        return None if value is None else _text(value)
    names = (sticky.header, sticky.header.encode())
    for name, text in headers:
        if name in names:
            return text if isinstance(text, bytes) else text.encode("latin-1", "backslashreplace")
    return None


def _text(value: object) -> bytes:
    """A parameter as it is hashed: 7 and "7" are the same user."""
    return str(value).encode("utf-8", "surrogatepass")
