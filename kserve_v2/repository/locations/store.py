"""The seam to whatever holds models: an object store, a web server, a folder with archives."""

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from kserve_v2.errors import InvalidArgumentError, UnavailableError, describe
from kserve_v2.net.repository_url import ARCHIVES
from kserve_v2.repository.locations.manifest import Item, Manifest

logger = logging.getLogger(__name__)

# What stands in a URL behind its path is often a signature, and before the host a password.
_SECRETS = re.compile(r"(?<=://)[^/\s@]*@|\?[^\s'\"<>]*=[^\s'\"<>]*")
_CREDENTIAL_ERRORS = ("credential", "token", "sso", "auth")


class UnreachableError(UnavailableError):
    """A store does not tell what is asked of it: it is not there, or lets nobody in, or does not answer."""

    final = False
    """Whether there is no use in asking again soon."""


class RefusedError(UnreachableError):
    """It lets nobody in."""

    final = True


class MissingError(UnreachableError):
    """It is not there."""

    final = True


@dataclass(frozen=True, slots=True)
class Found:
    """A model that a store has: a directory or, with `archive`, a file of that name. `problem`: why it cannot be had;
    "" for nothing.
    """

    name: str
    archive: str = ""
    problem: str = ""

    def __str__(self) -> str:
        return self.archive or f"{self.name}/"


def without_doubles(found: Iterable[Found]) -> list[Found]:
    """What was found. Two that have one name are one model with a problem: others have nothing to do with that."""
    models: dict[str, Found] = {}
    for each in found:
        other = models.setdefault(each.name, each)
        if other is not each and not other.problem:
            models[each.name] = replace(other, problem=there_twice(str(other), str(each)).message)
    return list(models.values())


def there_twice(one: str, other: str) -> InvalidArgumentError:
    """What is wrong with a name that two things have."""
    return InvalidArgumentError(f"it is there twice, as {one} and as {other}: take one of them away")


class Readable(Protocol):
    """Has files. Used on several threads; all blocks."""

    shown: str
    """What the log calls it: without passwords."""

    def read(self, item: Item, start: int, end: int) -> bytes:
        """Some bytes of a file, fewer than asked for only if there are no more or the connection was cut. Raises
        whatever; FileNotFoundError and PermissionError if there is no use in asking again.
        """

    def counts(self, item: Item) -> bool:
        """Whether the checksum that is told for a file is that of its content. Asked where it does not fit."""


class Store(Readable, Protocol):
    """Holds models."""

    def found(self) -> Collection[Found]:
        """All models. Raises UnreachableError, InvalidArgumentError for what is no place for several models."""

    def find(self, name: str) -> Found | None:
        """One model. Raises as `found`."""

    def manifest(self, found: Found) -> Manifest | None:
        """What a model consists of now; None if it is not there any more. Raises UnreachableError."""


class Whole(Readable, Protocol):
    """Holds one model, or one archive of models."""

    def whole(self) -> Manifest | None:
        """What it consists of now; None if it is not there. Raises UnreachableError."""


def archive_name(file_name: str) -> str | None:
    """The name of the model that an archive is; None for no archive."""
    lower = file_name.lower()
    ending = next((each for each in ARCHIVES if lower.endswith(each)), None)
    return file_name[: -len(ending)] or None if ending else None


def without_secrets(text: str) -> str:
    """A URL, or a text with some, that may be logged."""
    return _SECRETS.sub(lambda match: "?…" if match[0].startswith("?") else "", text)


def unreachable(error: Exception, where: str) -> UnreachableError:
    """The error for a store that has raised one. `where`: what the log calls the place; clients are not told."""
    if isinstance(error, UnreachableError):
        return error
    name, text = type(error).__name__, without_secrets(str(error))
    logger.warning("%s: %s: %s", where, name, text)
    if isinstance(error, FileNotFoundError):
        return MissingError("nothing is there")
    if isinstance(error, PermissionError):
        return RefusedError("access is denied: see the server's credentials")
    if any(word in name.lower() for word in _CREDENTIAL_ERRORS):
        return RefusedError(f"credentials are needed ({name})")
    return UnreachableError(without_secrets(describe(error)))
