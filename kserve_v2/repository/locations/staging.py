"""The folder in which models from elsewhere are put before they are loaded: one server's at a time, with a limit to its
size, and cleaned of what nobody names any more.

    kserve-v2-staging       shows that the folder is ours; its lock is held by the server that uses it
    <location>/             an `Area`
"""

import atexit
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError
from kserve_v2.repository.locations.area import Area, remove
from kserve_v2.repository.user_cache import user_cache

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

MARK = "kserve-v2-staging"
_AREA = re.compile(r"[A-Za-z0-9._]{1,40}-[0-9a-f]{16}")
# Of a URL: who asks and its password, and what stands behind the path; the password alone.
_SECRETS = re.compile(r"(?<=://)[^/\s@]*@|\?[^#]*")
_PASSWORD = re.compile(r"(?<=://)(?P<user>[^/\s@:]*):[^/\s@]*@")
_UNKNOWN_CHARACTERS = re.compile(r"[^A-Za-z0-9.]+")


class Staging:
    """The folder. It is made, and locked, when it is needed first. Used on several threads."""

    def __init__(
        self,
        directory: Path | None,
        limit: int = 0,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`directory`: None for one in the user's cache directory or, where that cannot be written to or another server
        has it, for one that goes with the server. `limit`: bytes that it may have; 0 for as many as there is room for.
        """
        self._given = directory
        self._environ = environ or {}
        self._limit = limit
        self._clock = clock
        self._lock = threading.RLock()
        self._unpacking = threading.Lock()
        self._held: BinaryIO | None = None
        self._directory: Path | None = None
        self._temporary = False
        self._areas: dict[str, Area] = {}
        self._keys: frozenset[str] = frozenset()
        # Model → how many bytes it may still take.
        self._reserved: dict[tuple[str, str], int] = {}
        self.in_use: Iterable[Path] = ()
        """Directories of models that must stay, although there are newer ones."""

    def name_all(self, locations: Iterable[str]) -> None:
        """Say which locations there are: what others have left is removed when the folder is opened."""
        self._keys = frozenset(map(area_key, locations))

    def area(self, location: str) -> Area:
        """The part of the folder that is a location's. Raises InvalidArgumentError if there can be no folder."""
        key = area_key(location)
        with self._lock:
            if key not in self._areas:
                self._areas[key] = Area(self.open() / key, self._clock)
            return self._areas[key]

    @contextmanager
    def room(self, area: Area, name: str, size: int) -> Iterator[None]:
        """Hold room for a model that is about to be fetched. Raises ResourceExhaustedError if there is none."""
        key = (area.path.name, name)
        # What an archive that is being unpacked has yet to write is not on the disk, nor held.
        with self.unpacking(), self._lock:
            missing = size - self._available(but=key)
            if missing > 0:
                self.make_room(area, name)
                missing = size - self._available(but=key)
            if missing > 0:
                raise ResourceExhaustedError(
                    f"it has {size} bytes, for which there is no room in the staging folder: {missing} are missing"
                    + (f" (--staging-size-limit {self._limit})" if self._limit else "")
                )
            self._reserved[key] = size
        try:
            yield
        finally:
            with self._lock:
                del self._reserved[key]

    def make_room(self, area: Area, name: str) -> None:
        """Remove all that nobody uses, however new it is: what has been replaced, and what has been fetched in vain; of
        the model that the room is for, also what is shown.
        """
        with self._lock:
            area.fall_back(name, self.in_use)
            for each in self._areas.values():
                each.prune(self.in_use, at_once=True)
                each.forget_partial(but={name for path, name in self._reserved if path == each.path.name})

    @contextmanager
    def unpacking(self) -> Iterator[None]:
        """While an archive becomes files. With a limit, one at a time, and nothing else is given room meanwhile: only
        then there is the room for each that it was told of.
        """
        with self._unpacking if self._limit else nullcontext():
            yield

    def available(self) -> int:
        """Bytes that are left, beyond those that are held."""
        with self._lock:
            return self._available()

    def available_for(self, area: Area, name: str) -> int:
        """The same for one model: what is held for it is not taken away from it."""
        with self._lock:
            return self._available(but=(area.path.name, name))

    def _available(self, but: tuple[str, str] | None = None) -> int:
        held = {key: size for key, size in self._reserved.items() if key != but}
        # What has been fetched of a model is part of what is held for it, and need not be found again on the disk.
        fetched = {key: self._areas[key[0]].partial_bytes(key[1]) for key in held}
        own = self._areas[but[0]].partial_bytes(but[1]) if but else 0
        free = shutil.disk_usage(self.open()).free + own - sum(held.values()) + sum(fetched.values())
        if not self._limit:
            return max(0, free)
        used = sum(area.bytes() for area in self._areas.values())
        used += sum(held.values()) - sum(fetched.values()) - own
        return max(0, min(free, self._limit - used))

    def prune(self, area: Area) -> None:
        """Remove what has been replaced in an area some time ago."""
        with self._lock:
            area.prune(self.in_use)

    def prune_all(self) -> bool:
        """The same for all areas. Says whether there is more, which is in use or was replaced too short a time ago."""
        with self._lock:
            for area in self._areas.values():
                area.prune(self.in_use)
            return any(area.has_replaced for area in self._areas.values())

    def close(self) -> None:
        """Let another server have the folder."""
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = None
            if self._temporary and self._directory is not None:
                remove(self._directory)
            self._directory = None
            self._areas.clear()

    # --- the folder itself ----------------------------------------------------------------------------------------

    def open(self) -> Path:
        """Make and lock the folder, unless that is done. Raises InvalidArgumentError."""
        with self._lock:
            if self._directory is None:
                if self._given is not None:
                    self._directory = self._take(self._given)
                else:
                    self._directory = self._take_default()
                self._clean(self._directory)
            return self._directory

    def _take_default(self) -> Path:
        cache = user_cache(self._environ)
        if cache is not None:
            try:
                return self._take(cache / "staging")
            except InvalidArgumentError as error:
                logger.info("%s: models are staged in a folder that goes with the server", error.message)
        self._temporary = True
        directory = Path(tempfile.mkdtemp(prefix="kserve-v2-staging-"))
        atexit.register(remove, directory)
        return self._take(directory)

    def _take(self, directory: Path) -> Path:
        """Make the folder ours. Raises InvalidArgumentError."""
        directory = directory.absolute()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / MARK).exists() and any(directory.iterdir()):
                # It is cleaned, and whatever is in it would go.
                raise InvalidArgumentError(
                    f"staging folder {str(directory)!r} has files in it that are none of the server's: name an empty "
                    "one with --staging-dir"
                )
            held = (directory / MARK).open("ab+", buffering=0)
        except OSError as error:
            raise InvalidArgumentError(
                f"staging folder {str(directory)!r} cannot be used: {error.strerror}; name another one with "
                "--staging-dir"
            ) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held.seek(0)
            owner = held.read(32).decode(errors="replace") or "?"
            held.close()
            raise InvalidArgumentError(
                f"staging folder {str(directory)!r} is used by another server (process {owner}): name another one with "
                "--staging-dir"
            ) from error
        held.truncate(0)
        held.write(str(os.getpid()).encode())
        self._held = held
        return directory

    def _clean(self, directory: Path) -> None:
        for path in directory.iterdir():
            if path.name not in self._keys and _AREA.fullmatch(path.name) and not path.is_symlink():
                logger.info(
                    "removed from the staging folder, as no --model-repository names it: %s", path.name
                )
                remove(path)


def area_key(location: str) -> str:
    """The name of a location's part of the folder. Paths are shown, and logged: nothing can be read in it of who asks a
    server, nor of what stands behind the path, which may be a signature; and no password can be found by trying.
    """
    readable = _UNKNOWN_CHARACTERS.sub("_", _SECRETS.sub("", location))[:40]
    told_apart = _PASSWORD.sub(r"\g<user>@", location)
    return f"{readable}-{blake2b(told_apart.encode(errors='surrogateescape'), digest_size=8).hexdigest()}"
