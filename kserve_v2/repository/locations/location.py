"""Locations: each has a local folder of models, which is brought up to date from wherever the models come from."""

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock, RLock
from typing import Protocol

from kserve_v2.errors import InvalidArgumentError, ServingError, as_serving_error
from kserve_v2.repository.locations import flat
from kserve_v2.repository.locations.area import Area
from kserve_v2.repository.locations.names import name_problem
from kserve_v2.repository.locations.stager import Shape, Stager, as_it_is
from kserve_v2.repository.locations.store import Found, Store, UnreachableError, Whole
from kserve_v2.repository.reading.layout import is_hidden

logger = logging.getLogger(__name__)

_MODELS_AT_A_TIME = 4
# The tree of an archive that has a whole repository in it.
_REPOSITORY = "repository"


class OneModelError(InvalidArgumentError):
    """An archive that is to be a repository of models is one model, and has no name for it."""


class Location(Protocol):
    """Where models come from. Used on several threads; everything blocks. Raises ServingError."""

    shown: str
    """What the log calls it: without passwords."""

    @property
    def root(self) -> Path | None:
        """The folder in which its models lie, as they were found last; None if there is none yet."""

    def names(self) -> Collection[str]:
        """Models that can be had, beside those that lie in the folder."""

    def materialize(self, name: str) -> None:
        """Have one model in the folder as it is now; or not at all, if it is not there any more."""

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """The same for all models, or those of some names. Returns those for which that failed: they are as before."""


class LocalFolder:
    """A folder of models on this machine. It is what it is."""

    def __init__(self, folder: Path) -> None:
        self.root: Path | None = folder
        self.shown = str(folder)

    def names(self) -> Collection[str]:
        """See `Location`."""
        return ()

    def materialize(self, name: str) -> None:
        """See `Location`."""

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        return {}


class Staged:
    """Models that are put into a part of the staging folder, which is there when it is needed first."""

    def __init__(self, shown: str, stager: Stager, location: str) -> None:
        """`location`: what tells it from others."""
        self.shown = shown
        self._stager, self._location = stager, location
        self._area: Area | None = None

    @property
    def root(self) -> Path | None:
        """See `Location`."""
        return self._area.models if self._area is not None else None

    def origin_of(self, name: str) -> str:
        """Where a part of the area comes from, for who speaks of its files; "" for one that was never seen here."""
        raise NotImplementedError

    def origin_of_file(self, path: Path) -> str:
        """The same of a file by its path here; "" for one that is not of this place."""
        found = self._area.inside(path) if self._area is not None else None
        if found is None or not (origin := self.origin_of(found[0])):
            return ""
        return "/".join((origin.rstrip("/"), *found[1].parts))

    def _open(self) -> Area:
        if self._area is None:
            # The same one for all threads that come at a time.
            self._area = self._stager.staging.area(self._location)
        return self._area


class StoredModels(Staged):
    """Models in a store, each fetched by itself."""

    def __init__(self, store: Store, stager: Stager, location: str) -> None:
        """`location`: what tells it from others."""
        super().__init__(store.shown, stager, location)
        self._store = store
        self._seen: dict[str, str] = {}
        self._locks: dict[str, Lock] = {}
        self._skipped: set[str] = set()

    def origin_of(self, name: str) -> str:
        """See `Staged`."""
        return f"{self.shown}/{self._seen[name]}" if name in self._seen else ""

    def names(self) -> Collection[str]:
        """See `Location`."""
        return self._found().keys()

    def materialize(self, name: str) -> None:
        """See `Location`."""
        found = None if _skipped(name) else self._store.find(name)
        if found is None:
            self._hide(name)
        else:
            self._have(found)
            self._prune()

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        found = self._found()
        area = self._open() if found else self._area
        for name in set(area.kept if area is not None else ()) - found.keys():
            self._hide(name)
        if names is not None:
            found = {name: each for name, each in found.items() if name in names}
        problems: dict[str, ServingError] = {}
        with ThreadPoolExecutor(_MODELS_AT_A_TIME, thread_name_prefix="model-location") as threads:
            jobs = {name: threads.submit(self._have, each, patient=True) for name, each in found.items()}
        for name, job in jobs.items():
            if (error := job.exception()) is not None:
                problems[name] = serving_error(error)
        self._prune()
        return problems

    def hide_gone(self) -> None:
        """Show no longer what is gone from the store, though nobody has asked for it since."""
        if self._area is None or self._stager.stopping.is_set():
            return
        try:
            for name in set(self._area.kept) - self._found().keys():
                lock = self._locks.setdefault(name, Lock())
                # Whoever is bringing it knows better.
                if lock.acquire(blocking=False):
                    try:
                        if self._store.find(name) is None:
                            self._hide(name)
                    finally:
                        lock.release()
        except (ServingError, OSError) as error:
            logger.debug("%s: it cannot be said what is gone: %s", self.shown, error)

    def _found(self) -> dict[str, Found]:
        found = {}
        for each in self._store.found():
            problem = name_problem(each.name)
            if not _skipped(each.name):
                found[each.name] = each
            elif problem is not None and each.name not in self._skipped:
                self._skipped.add(each.name)
                logger.warning("skipped in %s: the name %a %s", self._store.shown, each.name, problem)
        return found

    def _have(self, found: Found, *, patient: bool = False) -> None:
        self._seen[found.name] = str(found)
        if found.problem:
            raise InvalidArgumentError(found.problem)
        area = self._open()
        with self._locks.setdefault(found.name, Lock()):
            shape: Shape = flat.unwrap_model if found.archive else as_it_is
            tree = self._stager.stage(
                self._store, lambda: self._store.manifest(found), area, found.name, shape, patient=patient
            )
            if tree is None:
                self._hide(found.name)
            elif area.show(found.name, tree):
                logger.info("staged: %s", found.name)

    def _prune(self) -> None:
        if self._area is not None and self._area.has_replaced:
            self._stager.staging.prune(self._area)

    def _hide(self, name: str) -> None:
        if self._area is not None and self._area.hide(name):
            logger.info("model '%s' is gone from %s", name, self._store.shown)
            self._prune()


class ArchivedModels(Staged):
    """An archive of a whole repository."""

    def __init__(self, archive: Whole, stager: Stager, location: str) -> None:
        super().__init__(archive.shown, stager, location)
        self._archive = archive
        self._lock = RLock()

    def origin_of(self, name: str) -> str:
        """See `Staged`."""
        return self.shown if name == _REPOSITORY else ""

    @property
    def root(self) -> Path | None:
        """See `Location`."""
        return self._area.shown(_REPOSITORY) if self._area is not None else None

    def names(self) -> Collection[str]:
        """See `Location`. They are not known before it is unpacked."""
        self._have()
        return ()

    def materialize(self, name: str) -> None:
        """See `Location`."""
        self._have()

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        self._have(patient=True)
        return {}

    def _have(self, *, patient: bool = False) -> None:
        with self._lock:
            area = self._open()
            tree = self._stager.stage(
                self._archive, self._archive.whole, area, _REPOSITORY, _as_repository, patient=patient
            )
            if tree is None:
                # That it is gone is no wish to unload everything.
                raise UnreachableError("nothing is there")
            area.show(_REPOSITORY, tree)
            self._stager.staging.prune(area)


class OneRemoteModel(Staged):
    """A place that is one model, and has no name of its own for it."""

    def __init__(self, name: str, origin: Whole, stager: Stager, location: str) -> None:
        super().__init__(origin.shown, stager, location)
        self._name = name
        self._origin = origin
        self._lock = RLock()

    def origin_of(self, name: str) -> str:
        """See `Staged`."""
        return self.shown if name == self._name else ""

    def names(self) -> Collection[str]:
        """See `Location`."""
        return (self._name,)

    def materialize(self, name: str) -> None:
        """See `Location`."""
        if name == self._name:
            self._have(patient=False)

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        try:
            self._have(patient=True)
        except ServingError as error:
            return {self._name: error}
        return {}

    def _have(self, *, patient: bool) -> None:
        with self._lock:
            area = self._open()
            tree = self._stager.stage(
                self._origin, self._origin.whole, area, self._name, _as_model, patient=patient
            )
            if tree is None:
                raise UnreachableError("nothing is there")
            if area.show(self._name, tree):
                logger.info("staged: %s", self._name)
            self._stager.staging.prune(area)


def _skipped(name: str) -> bool:
    """Whether a name is that of no model: as `scan` has it, or because it would lead elsewhere."""
    return is_hidden(name) or name_problem(name) is not None


def serving_error(error: BaseException) -> ServingError:
    """What a thread has raised, for a log and for whoever asks for the model."""
    if isinstance(error, Exception):
        return as_serving_error(error) or InvalidArgumentError(f"it cannot be staged: {error}")
    raise error


def raise_if_one(folder: Path) -> None:
    """Raise InvalidArgumentError for a folder that is one model, and has none in it."""
    if flat.is_one_model(folder) and not flat.has_archives_alone(folder):
        raise InvalidArgumentError(
            f"--model-repository {folder} is one model, not a folder of models: give --model-name NAME to serve "
            f"it under that name, or `kserve-v2 serve {folder}`"
        )


def raise_if_many(folder: Path) -> None:
    """Raise InvalidArgumentError for a folder that has models in it, and is not one."""
    if models := flat.models_in(folder):
        raise InvalidArgumentError(
            f"--model-name is for a folder that is one model, but in this one there are the models "
            f"{', '.join(models[:3])}: leave --model-name out"
        )


def _as_model(directory: Path) -> None:
    raise_if_many(directory)
    if not flat.has_versions(directory):
        flat.give_version(directory)


def _as_repository(directory: Path) -> None:
    flat.unwrap_repository(directory)
    if flat.is_one_model(directory):
        raise OneModelError("the archive is one model, not a repository of models: give --model-name NAME")
