"""Models that are no folder of a repository, shown as one: a directory made of links to where their files lie, and of
the few files that are written for them. Nothing is copied, and nothing is written beside what a person has.

A model's files are found from where they lie: `home_of` says where that is, and `prepare` loads them from there. So a
handler's `__file__` is its own file, and what it reads beside that is there. What is linked is what a change is looked
for in, and what a configuration may name.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Protocol

from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.repository.locations.area import TREES, Area, note_of
from kserve_v2.repository.locations.store import there_twice
from kserve_v2.repository.reading.layout import CONFIG
from kserve_v2.repository.temporary_folder import MODELS, TemporaryFolder

logger = logging.getLogger(__name__)

_HOME = "home"


@dataclass(frozen=True, slots=True)
class ModelLinks:
    """What a model's directory is made of. `whole`: it is a link itself. `links`: by their names in it, what they lead
    to; `files`: by theirs, what is written. `home`: where the version's files lie, if that is not the directory.
    """

    whole: Path | None = None
    links: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    home: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Changes when another directory would be made. What the links lead to is for the server to look at."""
        digest = hashlib.blake2b(repr((self.whole, self.home)).encode(), digest_size=16)
        for name in sorted({*self.links, *self.files}):
            digest.update(f"\0{name!r}\0{self.links.get(name)!r}\0".encode())
            digest.update(hashlib.blake2b(self.files.get(name, b"")).digest())
        return digest.hexdigest()

    @property
    def note(self) -> dict[str, object]:
        """What is to be kept beside the directory."""
        return {"items": {}, "archive": False, _HOME: None if self.home is None else str(self.home)}

    def make(self, model: Path) -> None:
        """Make the directory. Raises OSError."""
        if self.whole is not None:
            model.symlink_to(self.whole)
            return
        model.mkdir()
        for name in (*self.links, *self.files):
            (model / name).parent.mkdir(parents=True, exist_ok=True)
        for name, target in self.links.items():
            (model / name).symlink_to(target)
        for name, content in self.files.items():
            (model / name).write_bytes(content)


def home_of(model_path: Path) -> Path | None:
    """Where the files of a model lie whose directory is made of links; None for any other one, and for one whose
    directory is where they are.
    """
    if model_path.parent.parent.parent.name != TREES:
        return None
    home = (note_of(model_path) or {}).get(_HOME)
    return Path(home) if isinstance(home, str) else None


def is_of_links(model_path: Path) -> bool:
    """Whether a model's directory is made of links, and no folder of a person's."""
    return model_path.parent.parent.parent.name == TREES and _HOME in (note_of(model_path) or {})


def is_made(model_path: Path) -> bool:
    """Whether the configuration in a model's directory was written for it, of a model that has none."""
    return home_of(model_path) is not None and not (model_path / CONFIG).is_symlink()


def is_one_file(model_path: Path) -> bool:
    """Whether a person has named a model's file, so that what its configuration says was given with options."""
    return is_made(model_path) and (model_path / CONFIG).is_file()


def lies_at(path: Path) -> Path:
    """Where a file really is that is reached by a directory of links, to be shown to people; any other path as it is.
    Of what was written for a model it is the folder of the model's files.
    """
    for model in (path, *path.parents):
        if model.parent.parent.parent.name == TREES:
            break
    else:
        return path
    inner = path.relative_to(model)
    if model.is_symlink():
        return model.readlink() / inner
    home = home_of(model)
    if home is None:
        # A version may be a link to a folder of its own.
        version = model.joinpath(*inner.parts[:1])
        return version.readlink().joinpath(*inner.parts[1:]) if version.is_symlink() else path
    return home.joinpath(*inner.parts[1:]) if inner.parts[:1] == ("1",) else home


class Owner(Protocol):
    """Who has models shown as directories of links."""

    def place_of(self, name: str) -> str:
        """Where what it has of that name lies now, for people; "" if it has nothing."""


class LinkArea:
    """Where one server's directories of links are: a temporary folder, which is there when it is needed first. Used on
    several threads.
    """

    def __init__(self) -> None:
        self._folder = TemporaryFolder(MODELS)
        self._lock = RLock()
        self._area: Area | None = None
        self._owners: dict[str, Owner] = {}
        self.in_use: Iterable[Path] = ()
        """Directories of models that must stay, although there are newer ones."""

    @property
    def models(self) -> Path | None:
        """The folder of models; None if there is none yet."""
        return self._area.models if self._area is not None else None

    def show(self, name: str, links: ModelLinks, owner: Owner) -> None:
        """Have a model's directory as it should be. Raises InvalidArgumentError where it cannot be made, and where
        another owner has something of that name: then there is no such model.
        """
        try:
            with self._lock:
                other = self._owners.get(name, owner)
                if other is not owner and (place := other.place_of(name)):
                    if self._area is not None:
                        self._area.hide(name)
                    raise there_twice(place, owner.place_of(name))
                self._owners[name] = owner
                if self._area is None:
                    self._area = Area(self._folder.open())
                area, fingerprint = self._area, links.fingerprint
                tree = area.find(name, fingerprint) or area.make(name, fingerprint, links.note, links.make)
                area.show(name, tree)
                area.prune(self.in_use)
        except OSError as error:
            raise InvalidArgumentError(
                f"the links to its files cannot be made in the directory for temporary files: {error.strerror}"
            ) from error

    def hide(self, name: str, owner: Owner) -> None:
        """Have a model's directory no longer, if it is this owner's; what is in use of it stays."""
        with self._lock:
            if self._owners.get(name) is not owner:
                return
            del self._owners[name]
            if self._area is not None and self._area.hide(name):
                self._area.prune(self.in_use)

    def close(self) -> None:
        """Remove all links."""
        with self._lock:
            self._area = None
            self._folder.close()


class LinkedModel:
    """A location with one model. See `location.Location`."""

    def __init__(
        self,
        name: str,
        shown: str,
        links: Callable[[], ModelLinks],
        area: LinkArea,
        owner: Owner | None = None,
    ) -> None:
        """`links`: what it consists of now; raises OSError, or ServingError. `owner`: itself by default."""
        self.shown = shown
        self._name = name
        self._links = links
        self._area = area
        self._owner = owner or self
        self._lock = RLock()

    @property
    def root(self) -> Path | None:
        """See `Location`. It is the same for all of them."""
        return self._area.models

    def names(self) -> Collection[str]:
        """See `Location`."""
        return (self._name,)

    def place_of(self, name: str) -> str:
        """See `Owner`."""
        return self.shown if name == self._name else ""

    def check(self) -> None:
        """Raise what is wrong with it now: OSError, ServingError."""
        self._links()

    def materialize(self, name: str) -> None:
        """See `Location`."""
        if name == self._name:
            self._have()

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        try:
            if names is None or self._name in names:
                self._have()
        except ServingError as error:
            return {self._name: error}
        return {}

    def _have(self) -> None:
        with self._lock:
            try:
                links = self._links()
            except OSError as error:
                raise InvalidArgumentError(f"{self.shown} cannot be read: {error.strerror}") from error
            self._area.show(self._name, links, self._owner)


class AddedModels:
    """A location with models that come and go while the server runs. See `location.Location`."""

    shown = "the models that were added"

    def __init__(self, area: LinkArea) -> None:
        self._area = area
        self._models: dict[str, LinkedModel] = {}
        self._lock = RLock()

    @property
    def root(self) -> Path | None:
        """See `Location`."""
        return self._area.models

    def add(self, name: str, shown: str, links: Callable[[], ModelLinks]) -> None:
        """Have a model of that name from now on, in the place of one that was added before. `shown`: what errors call
        it. `links`: what it consists of now; raises OSError, or ServingError. It is looked at when it is loaded.
        """
        with self._lock:
            self._models[name] = LinkedModel(name, shown, links, self._area, self)

    def remove(self, name: str) -> None:
        """Have it no longer. What is loaded of it stays."""
        with self._lock:
            if self._models.pop(name, None) is not None:
                self._area.hide(name, self)

    def place_of(self, name: str) -> str:
        """See `Owner`."""
        model = self._models.get(name)
        return model.shown if model is not None else ""

    def names(self) -> Collection[str]:
        """See `Location`."""
        with self._lock:
            return tuple(self._models)

    def materialize(self, name: str) -> None:
        """See `Location`."""
        with self._lock:
            model = self._models.get(name)
        if model is not None:
            model.materialize(name)

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        with self._lock:
            models = list(self._models.values())
        problems: dict[str, ServingError] = {}
        for model in models:
            problems |= model.materialize_all(names)
        return problems
