"""What lies in a local folder in a form of its own, and is shown as models of a repository: directories of links."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from threading import RLock
from typing import Generic, TypeVar

from kserve_v2.errors import ServingError
from kserve_v2.repository.locations.linked import LinkArea, ModelLinks

T = TypeVar("T")


class ShownModels(ABC, Generic[T]):
    """Models that come and go with what lies in a folder. See `location.Location`."""

    def __init__(self, folder: Path, area: LinkArea) -> None:
        self.shown = str(folder)
        self._folder = folder.absolute()
        self._area = area
        self._lock = RLock()
        self._shown: set[str] = set()

    @abstractmethod
    def _found(self) -> Mapping[str, T]:
        """What there is now, by the names of the models."""

    @abstractmethod
    def _place(self, found: T) -> str:
        """Where one of them lies, for people."""

    @abstractmethod
    def _links(self, name: str, found: T) -> ModelLinks:
        """The directory of one of them. Raises ServingError."""

    @property
    def root(self) -> Path | None:
        """See `Location`. It is the same for all that are shown as links."""
        return self._area.models if self._shown else None

    def names(self) -> Collection[str]:
        """See `Location`."""
        return self._found().keys()

    def place_of(self, name: str) -> str:
        """See `linked.Owner`."""
        found = self._found().get(name)
        return "" if found is None else self._place(found)

    def materialize(self, name: str) -> None:
        """See `Location`."""
        with self._lock:
            found = self._found().get(name)
            if found is None:
                self._hide(name)
            else:
                self._have(name, found)

    def materialize_all(self, names: Collection[str] | None = None) -> Mapping[str, ServingError]:
        """See `Location`."""
        problems: dict[str, ServingError] = {}
        with self._lock:
            found = self._found()
            for name in self._shown - found.keys():
                self._hide(name)
            for name, each in found.items():
                if names is None or name in names:
                    try:
                        self._have(name, each)
                    except ServingError as error:
                        problems[name] = error
        return problems

    def _hide(self, name: str) -> None:
        if name in self._shown:
            self._shown.discard(name)
            self._area.hide(name, self)

    def _have(self, name: str, found: T) -> None:
        self._area.show(name, self._links(name, found), self)
        self._shown.add(name)
