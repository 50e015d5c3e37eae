"""What a model consists of where it comes from, before anything of it is fetched."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Digest:
    """The checksum of a content, as the store tells it: `algorithm` as hashlib calls it, `hex` in small letters."""

    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True)
class Item:
    """One file. `path`: relative, below the model's directory. `key`: how the store calls it. `tag` changes with the
    content; "" if the store tells nothing that does. `modified_s`: seconds since 1970.
    """

    path: str
    key: str
    size: int
    tag: str
    digest: Digest | None = None
    modified_s: float = 0.0

    @property
    def identity(self) -> str:
        """The same for the same content at the same place."""
        return f"{self.path}\0{self.size}\0{self.tag}\0"

    @property
    def time_ns(self) -> int:
        """The time that its copy gets: another one for another content, even of the same second, and the same one
        whenever the same content is fetched. What has changed is known by times and sizes.
        """
        return stamped(self.modified_s, self.tag.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Manifest:
    """All files of a model, and the directories that may be empty. `archive`: the only item is an archive, which has to
    be unpacked.
    """

    items: tuple[Item, ...]
    directories: tuple[str, ...] = ()
    archive: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any file."""
        digest = hashlib.blake2b(f"{self.archive}\0".encode(), digest_size=16)
        for item in sorted(self.items, key=lambda item: item.path):
            digest.update(item.identity.encode("utf-8", "surrogateescape"))
        for directory in sorted(self.directories):
            digest.update(f"{directory}/\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def as_json(self) -> dict[str, Any]:
        """What is noted of files that have been fetched; see `identities`."""
        return {
            "archive": self.archive,
            "size": self.size,
            "items": {item.path: [item.size, item.tag] for item in self.items},
        }


def identities(noted: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Path to size and tag, from what `as_json` has noted."""
    return {path: (size, tag) for path, (size, tag) in noted["items"].items()}


def stamped(seconds: float, content: bytes) -> int:
    """A time in nanoseconds whose part below the second comes from a content, or what stands for it."""
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int(seconds) * _NANOSECONDS + int.from_bytes(digest, "big") % _NANOSECONDS
