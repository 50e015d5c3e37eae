"""From what a store has to a whole directory in the staging folder."""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Protocol

from kserve_v2.errors import InvalidArgumentError, ServingError, UnavailableError
from kserve_v2.repository.locations.area import Area, remove
from kserve_v2.repository.locations.manifest import Item, Manifest, identities, stamped
from kserve_v2.repository.locations.names import check_name, check_names
from kserve_v2.repository.locations.staging import Staging
from kserve_v2.repository.locations.store import Readable
from kserve_v2.repository.locations.transfer import Progress, Stop, StoppedError, fetch, readable
from kserve_v2.unpacking import Bounds, TooLargeError, unpack

logger = logging.getLogger(__name__)

_FILES_AT_A_TIME = 4
# Each costs time, though it is empty: this many take some seconds.
_MAX_MEMBERS = 20_000
# How often a model may change while it is fetched.
_LOOKS = 3
# Gigabytes that end in an error are not fetched at every look.
_AGAIN_AFTER_S = 300.0


class Shape(Protocol):
    """Changes a directory that has just been put together, before it is shown."""

    def __call__(self, directory: Path) -> None: ...


def as_it_is(directory: Path) -> None:
    """The shape of a model that is laid out as a repository's."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Some content of a model could not be had. `room`: the bytes that there were for it, if they were not enough."""

    fingerprint: str
    error: ServingError
    at_s: float
    room: int | None = None


@dataclass(frozen=True)
class Stager:
    """Puts models into the staging folder. Used on several threads, but on one for each model."""

    staging: Staging
    stopping: Event = field(default_factory=Event)
    clock: Callable[[], float] = time.monotonic
    failures: dict[tuple[Path, str], "Failure"] = field(default_factory=dict)
    """By area and model: what was in vain the last time."""

    def stage(
        self,
        store: Readable,
        look: Callable[[], Manifest | None],
        area: Area,
        name: str,
        shape: Shape = as_it_is,
        *,
        patient: bool = False,
    ) -> Path | None:
        """The directory of a model as it is where it comes from; None if it is not there. `look`: what it consists of
        now. Nothing is fetched that has been, and has not changed. `patient`: what was fetched in vain, and has not
        changed, is not fetched again before some minutes have passed, or there is more room, if there was too little.

        Raises UnavailableError and ResourceExhaustedError for what may pass, InvalidArgumentError for what has to be
        repaired where the model comes from.
        """
        tree = None
        try:
            tree = self._stage(store, look, area, name, shape, patient=patient)
        finally:
            if tree is None:
                area.let_go(name)
        return tree

    def _stage(
        self,
        store: Readable,
        look: Callable[[], Manifest | None],
        area: Area,
        name: str,
        shape: Shape,
        *,
        patient: bool,
    ) -> Path | None:
        for _ in range(_LOOKS):
            manifest = look()
            if manifest is None:
                return None
            if not manifest.archive:
                check_names([item.path for item in manifest.items], manifest.directories)
            found = area.find(name, manifest.fingerprint)
            if found is not None:
                return found
            if patient:
                self._raise_again(manifest, area, name)
            kept = _unchanged(manifest, area, name)
            missing = [item for item in manifest.items if item not in kept]
            if not kept:
                # It takes nothing from what there is of it.
                area.let_go(name)
            with self.staging.room(area, name, sum(item.size for item in missing)):
                failure: UnavailableError | None = None
                fetched: Mapping[Item, Path] = {}
                try:
                    fetched = {**kept, **self._fetch(store, missing, area, name, len(kept))}
                except UnavailableError as error:
                    if self.stopping.is_set():
                        raise
                    failure = error
                # Files of two states of a model are no model; and what does not fit may be of another state, too.
                again = look()
                if again is not None and again.fingerprint == manifest.fingerprint:
                    try:
                        if failure is not None:
                            raise failure
                        tree = self._put_together(manifest, fetched, area, name, shape)
                    except ServingError as error:
                        self.failures[area.path, name] = self._failure(manifest, area, name, error)
                        raise
                    self.failures.pop((area.path, name), None)
                    return tree
            logger.info("model '%s' has changed while it was fetched: looking again", name)
        raise UnavailableError(f"it was changed while it was fetched, {_LOOKS} times")

    def _failure(self, manifest: Manifest, area: Area, name: str, error: ServingError) -> Failure:
        short = isinstance(error, TooLargeError)
        room = self.staging.available_for(area, name) if short else None
        return Failure(manifest.fingerprint, error, self.clock(), room)

    def _raise_again(self, manifest: Manifest, area: Area, name: str) -> None:
        failure = self.failures.get((area.path, name))
        if failure is None or failure.fingerprint != manifest.fingerprint:
            return
        if failure.room is not None:
            self.staging.make_room(area, name)
            if self.staging.available_for(area, name) > failure.room:
                return
        if self.clock() - failure.at_s < _AGAIN_AFTER_S:
            raise type(failure.error)(failure.error.message)

    def _fetch(
        self, store: Readable, missing: Sequence[Item], area: Area, name: str, unchanged: int
    ) -> Mapping[Item, Path]:
        size = sum(item.size for item in missing)
        started_s = self.clock()
        logger.info(
            "model '%s': fetching %d file(s), %s, from %s%s", name, len(missing), readable(size), store.shown,
            f"; {unchanged} are unchanged" if unchanged else "",
        )  # fmt: skip
        directory = area.partial(name)
        partials = {item: directory / _partial_name(item) for item in missing}
        progress = Progress(name, size, self.clock)
        stop = Stop(self.stopping)
        with ThreadPoolExecutor(_FILES_AT_A_TIME, thread_name_prefix="model-file") as threads:
            jobs = [threads.submit(fetch, store, item, partials[item], progress, stop) for item in missing]
            failures = [error for job in jobs if (error := job.exception()) is not None]
        # The others have ended because of one that failed.
        for error in sorted(failures, key=lambda error: isinstance(error, StoppedError)):
            raise error
        logger.info("model '%s': fetched in %.1f s", name, self.clock() - started_s)
        return partials

    def _put_together(
        self, manifest: Manifest, fetched: Mapping[Item, Path], area: Area, name: str, shape: Shape
    ) -> Path:
        fill = (
            partial(self._unpack, area, name, manifest.items[0])
            if manifest.archive
            else partial(_lay_out, manifest)
        )

        def make(directory: Path) -> None:
            fill(fetched, directory)
            shape(directory)

        try:
            tree = area.make(name, manifest.fingerprint, manifest.as_json(), make)
        except InvalidArgumentError:
            if manifest.archive:
                # Perhaps it is damaged on the way, where nobody tells a checksum.
                fetched[manifest.items[0]].unlink(missing_ok=True)
            raise
        except OSError as error:
            raise UnavailableError(f"it cannot be staged: {error.strerror}") from error
        area.forget_partial_of(name)
        return tree

    def _unpack(
        self, area: Area, name: str, archive: Item, fetched: Mapping[Item, Path], directory: Path
    ) -> None:
        with self.staging.unpacking():
            self._unpack_here(area, name, archive, fetched[archive], directory)
        files = [path for path in directory.rglob("*") if not path.is_dir() or path.is_symlink()]
        check_names([str(path.relative_to(directory)) for path in files])
        for path in files:
            if not path.is_symlink():
                _stamp(path)

    def _unpack_here(self, area: Area, name: str, archive: Item, fetched: Path, directory: Path) -> None:
        room = self.staging.available()
        try:
            unpack(fetched, directory, archive.path, Bounds(room, _MAX_MEMBERS, check_name))
        except TooLargeError:
            # How much it is could not be asked for before: only unpacking tells.
            remove(directory)
            self.staging.make_room(area, name)
            more = self.staging.available()
            if more <= room:
                raise
            unpack(fetched, directory, archive.path, Bounds(more, _MAX_MEMBERS, check_name))


def _unchanged(manifest: Manifest, area: Area, name: str) -> dict[Item, Path]:
    # It stays where it is from here on: not for an archive, which takes nothing from it and may need its room.
    noted = None if manifest.archive else area.noted(name)
    if noted is None or noted[1]["archive"]:
        return {}
    tree, note = noted
    before, files, moved = identities(note), note["files"], tree / "1"
    kept = {}
    for item in manifest.items:
        if not item.tag or before.get(item.path) != (item.size, item.tag):
            continue
        # In a model that was given a version there are links at the top.
        path = next(
            (each for each in (tree / item.path, moved / item.path) if not _is_below_link(each, tree)), None
        )
        # Others may have been at it while no server ran.
        if path is not None and str(path.relative_to(tree)) in files and _size(path) == item.size:
            kept[item] = path
    return kept


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _is_below_link(path: Path, top: Path) -> bool:
    return any(
        each.is_symlink() for each in (path, *path.parents) if each.is_relative_to(top) and each != top
    )


def _partial_name(item: Item) -> str:
    """Of a part of a file: another one for another content, so that contents are not mixed."""
    return hashlib.blake2b(item.identity.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _lay_out(manifest: Manifest, fetched: Mapping[Item, Path], directory: Path) -> None:
    directory.mkdir()
    for each in manifest.directories:
        (directory / each).mkdir(parents=True, exist_ok=True)
    for item in manifest.items:
        place = directory / item.path
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(fetched[item], place)
        _set_time(place, item.time_ns)


def _link(source: Path, place: Path) -> None:
    """Another name for a file: trees share what has not changed."""
    try:
        place.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, place)


def _set_time(path: Path, time_ns: int) -> None:
    if path.stat().st_mtime_ns != time_ns:
        os.utime(path, ns=(time_ns, time_ns))


def _stamp(path: Path) -> None:
    """Give a file a time that tells its content: archives are packed with times that are all the same."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").digest()
    _set_time(path, stamped(path.stat().st_mtime, digest))
