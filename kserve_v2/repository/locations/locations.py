"""All places that models come from, as the operator has named them. The rest of the server sees local folders."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import TypeVar

from kserve_v2.errors import InvalidArgumentError, ServingError, UnavailableError, describe
from kserve_v2.net.repository_url import RepositoryUrl
from kserve_v2.repository.locations import flat
from kserve_v2.repository.locations.filesystems import open_filesystem, place
from kserve_v2.repository.locations.linked import AddedModels, LinkArea, LinkedModel, ModelLinks, home_of
from kserve_v2.repository.locations.local_archives import LocalArchive, LocalArchives
from kserve_v2.repository.locations.location import (
    ArchivedModels,
    LocalFolder,
    Location,
    OneRemoteModel,
    Staged,
    StoredModels,
    raise_if_many,
    raise_if_one,
)
from kserve_v2.repository.locations.mlserver import FetchedMLServerModels, MLServerModels
from kserve_v2.repository.locations.object_store import ObjectArchive, ObjectStore
from kserve_v2.repository.locations.operand_links import links_of
from kserve_v2.repository.locations.operands import Operand, shown
from kserve_v2.repository.locations.stager import Stager
from kserve_v2.repository.locations.staging import Staging
from kserve_v2.repository.locations.store import UnreachableError, Whole, archive_name, without_secrets
from kserve_v2.repository.locations.torchserve import TorchServeArchives
from kserve_v2.repository.locations.web_archive import WebArchive
from kserve_v2.tensors.written import Tensors

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How long names are remembered for whoever only wants to look.
_NAMES_KEPT_S = 5.0


@dataclass(frozen=True, slots=True)
class Where:
    """What the operator has said about it; see `Settings`."""

    repositories: Sequence[Path | RepositoryUrl]
    model_name: str = ""
    models: Sequence[Operand] = ()
    """Single models, by their names."""
    tensors: Tensors = ((), ())
    """What is said of the inputs and outputs of the only one."""
    staging_dir: Path | None = None
    staging_size_limit: int = 0


class Locations:
    """Brings models here. Used on several threads; everything blocks, but for `roots` and what closes it."""

    def __init__(self, where: Where, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic):
        """Raises InvalidArgumentError for a place that cannot be used, such as one whose library is not installed."""
        self._where = where
        self._stopping = Event()
        self._staging = Staging(where.staging_dir, where.staging_size_limit, environ, clock)
        self._clock = clock
        self._links = LinkArea()
        stager = Stager(self._staging, self._stopping)
        self._locations: list[Location] = []
        keys: list[str] = []
        for each in where.repositories:
            key = _key(each, where.model_name)
            keys.append(key)
            origin = _origin(each, environ, self._stopping.wait)
            if isinstance(origin, Path) and where.model_name:
                self._locations.append(_flat_model(origin, where.model_name, self._links))
            else:
                found = _locations(origin, where.model_name, stager, key)
                self._locations += found
                if not isinstance(origin, Path) and not where.model_name:
                    self._locations += [FetchedMLServerModels(one, self._links, environ) for one in found]
                if isinstance(origin, Path):
                    self._locations.append(MLServerModels(origin, self._links, environ))
                    if origin.is_dir():
                        self._locations.append(TorchServeArchives(origin, self._links))
        for model in where.models:
            links = links_of(model, where.tensors)
            self._locations.append(LinkedModel(model.name, shown(model), links, self._links))
        self.added = AddedModels(self._links)
        """Those that come and go while the server runs."""
        self._locations.append(self.added)
        self._staging.name_all(keys)
        self._problems: dict[str, str] = {}
        # Of these, also where nothing can be said of what there is now, or something else than before went wrong.
        self._outdated: dict[str, ServingError] = {}
        self._unreachable: dict[int, str] = {}
        self._names: tuple[float, list[str]] | None = None
        self._lock = Lock()

    @property
    def roots(self) -> tuple[Path, ...]:
        """The local folders with models."""
        roots = (each.root for each in self._locations)
        return tuple(dict.fromkeys(root for root in roots if root is not None))

    @property
    def single(self) -> list[str]:
        """The names of the models that were given one by one, or as a repository that is one model."""
        of_repository = [self._where.model_name] if self._where.model_name else []
        return [*of_repository, *(each.name for each in self._where.models)]

    def origin_of(self, name: str) -> str:
        """Where a model was seen that could perhaps not be brought here, for who speaks of it: a URL without secrets,
        or the path of a local archive; "" if nowhere.
        """
        return next((found for each in self._origins() if (found := each.origin_of(name))), "")

    def origin_of_file(self, path: Path) -> str:
        """The same of a file of one that was, by its path here; "" for one that comes from nowhere else."""
        return next((found for each in self._origins() if (found := each.origin_of_file(path))), "")

    def _origins(self) -> Iterator[Staged]:
        return (each for each in self._locations if isinstance(each, Staged))

    def names(self) -> list[str]:
        """Models that can be had, beside those that lie in the folders. Raises ServingError, for the operator, if that
        cannot be said.
        """
        names: list[str] = []
        for each in self._locations:
            try:
                names += each.names()
            except ServingError as error:
                raise type(error)(f"{each.shown}: {error.message}") from error
        names = sorted(set(names))
        self._names = self._clock(), names
        return names

    def names_seen(self) -> list[str]:
        """The same for whoever only looks: as it was found a moment ago, or last if nobody can say now."""
        with self._lock:
            if self._names is None or self._clock() - self._names[0] > _NAMES_KEPT_S:
                try:
                    self.names()
                except (ServingError, OSError):
                    self._names = self._clock(), self._names[1] if self._names else []
            return self._names[1] if self._names else []

    def problem(self, name: str) -> str | None:
        """Why a model could not be brought here when that was tried last."""
        return self._problems.get(name)

    def outdated(self, name: str) -> ServingError | None:
        """Why a model is here as it was before, if it could not be brought here when that was tried last; None if there
        is nothing wrong.
        """
        return self._outdated.get(name)

    def prepare(self) -> None:
        """Find out at the start what would be found out later. Raises InvalidArgumentError for a local folder that is
        one model where many are expected or the reverse, and for a staging folder that cannot be used; OSError for a
        folder that cannot be read.
        """
        described = {
            each.shown for each in self._locations if isinstance(each, MLServerModels) and each.names()
        }
        for each in self._locations:
            if isinstance(each, LocalFolder) and each.root is not None and each.shown not in described:
                raise_if_one(each.root)
            if isinstance(each, LinkedModel):
                each.check()
        if self._where.staging_dir is not None:
            self._staging.open()

    def materialize(self, name: str, in_use: Iterable[Path] = ()) -> None:
        """Bring one model up to date, or take it away if it is gone. `in_use`: directories that must stay, as often as
        that is asked, until another call says otherwise. Raises ServingError.
        """
        self._use(in_use)
        try:
            for each in self._locations:
                each.materialize(name)
        except ServingError as error:
            error = _told(error)
            self._problems[name] = error.message
            self._outdated[name] = error
            raise error from None
        self._problems.pop(name, None)
        self._outdated.pop(name, None)

    def refresh(self, in_use: Iterable[Path] = (), names: Collection[str] | None = None) -> None:
        """Bring everything up to date, or the models of these names. What cannot be reached is as before, and the log
        says so once.
        """
        self._use(in_use)
        problems: dict[str, str] = {}
        outdated: dict[str, ServingError] = {}
        for number, each in enumerate(self._locations):
            try:
                failed = each.materialize_all(names)
            except (ServingError, OSError) as failure:
                problem = (
                    failure.message
                    if isinstance(failure, ServingError)
                    else without_secrets(describe(failure))
                )
                trouble = f"{each.shown}: {problem}"
                # A folder is looked at for several kinds of models.
                if trouble not in self._unreachable.values():
                    logger.error("cannot read the model repository %s", trouble)  # noqa: TRY400 - no defect
                self._unreachable[number] = trouble
                told: ServingError = UnavailableError(f"it cannot be fetched: {problem}")
                if isinstance(failure, ServingError) and not isinstance(failure, UnreachableError):
                    # It has been reached, and nothing can be made of what is there now.
                    told = failure
                outdated |= dict.fromkeys(_names_in(each.root), told)
                continue
            self._unreachable.pop(number, None)
            problems |= {name: error.message for name, error in failed.items()}
            outdated |= {name: _told(error) for name, error in failed.items()}
        for name, problem in problems.items():
            if self._problems.get(name) != problem:
                logger.error("model '%s' cannot be fetched: %s", name, problem)
        self._problems = _others(self._problems, names) | problems
        self._outdated = _others(self._outdated, names) | outdated
        if self._names is not None:
            # A scan that follows must not take what is gone for what is still to be brought.
            self._names = float("-inf"), self._names[1]

    def clean(self, in_use: Iterable[Path] = ()) -> bool:
        """Remove what nobody uses any more of what was brought here. Says whether to come again, `KEPT_S` later."""
        self._use(in_use)
        for each in self._locations:
            if isinstance(each, StoredModels):
                each.hide_gone()
        return self._staging.prune_all()

    def _use(self, directories: Iterable[Path]) -> None:
        self._links.in_use = directories
        self._staging.in_use = _WithHomes(directories)

    def stop(self) -> None:
        """Fetch nothing more."""
        self._stopping.set()

    def close(self) -> None:
        """Let another server have the staging folder, and remove what was made."""
        self.stop()
        self._staging.close()
        self._links.close()


class _WithHomes:
    """Directories, and of those that are links the folders that these lead to."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._directories = directories

    def __iter__(self) -> Iterator[Path]:
        for each in self._directories:
            yield each
            if (home := home_of(each)) is not None:
                yield home


def _told(error: ServingError) -> ServingError:
    """The error that clients are told."""
    if isinstance(error, UnreachableError):
        return UnavailableError(f"it cannot be fetched: {error.message}")
    return error


def _others(found: Mapping[str, T], names: Collection[str] | None) -> dict[str, T]:
    """What was found of the models that were not looked at: `names` were, None for all."""
    return {} if names is None else {name: each for name, each in found.items() if name not in names}


def _names_in(root: Path | None) -> list[str]:
    """The models of a folder."""
    try:
        return [path.name for path in root.iterdir() if path.is_dir()] if root is not None else []
    except OSError:
        return []


def _key(where: Path | RepositoryUrl, model_name: str) -> str:
    """What tells one location from others."""
    text = where.full if isinstance(where, RepositoryUrl) else str(where.absolute())
    return f"{text}#{model_name}" if model_name else text


def _origin(
    where: Path | RepositoryUrl, environ: Mapping[str, str], pause: Callable[[float], object]
) -> Path | Whole:
    """A local folder, or what holds all of it: an `ObjectStore`, or an archive."""
    if isinstance(where, Path):
        return LocalArchive(where) if archive_name(where.name) and where.is_file() else where
    if where.scheme in ("http", "https"):
        if archive_name(where.file_name) is None:
            raise InvalidArgumentError(
                f"--model-repository {where}: expected an archive (.zip, .tar.gz) that has models in it"
            )
        if where.scheme == "http":
            logger.warning(
                "%s: whoever is on the way can read and change what comes; use https:// if you can", where
            )
        return WebArchive(where.full, where.file_name)
    wanted = place(where.scheme, where.full, environ)
    filesystem = open_filesystem(where.scheme, wanted)
    kind = ObjectArchive if archive_name(where.file_name) else ObjectStore
    return kind(filesystem, wanted.path, str(where), pause)


def _flat_model(folder: Path, name: str, area: LinkArea) -> LinkedModel:
    """A local folder that is one model."""

    def links() -> ModelLinks:
        raise_if_many(folder)
        return flat.links_of(folder.absolute())

    return LinkedModel(name, str(folder), links, area)


def _locations(origin: Path | Whole, model_name: str, stager: Stager, key: str) -> list[Location]:
    """Those that bring the models of one place here."""
    if isinstance(origin, Path):
        return [LocalFolder(origin), StoredModels(LocalArchives(origin), stager, key)]
    if model_name:
        return [OneRemoteModel(model_name, origin, stager, key)]
    if isinstance(origin, ObjectStore):
        return [StoredModels(origin, stager, key)]
    return [ArchivedModels(origin, stager, key)]
