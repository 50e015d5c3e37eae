"""Which versions of which models are registered, and which of them is each model's default. Nothing in it waits."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from kserve_v2.repository.reading.scan import check_new_name
from kserve_v2.torchserve_api.archive_look import Archive
from kserve_v2.torchserve_api.errors import (
    already_registered,
    default_version_stays,
    model_not_found,
    no_such_version_to_choose,
    version_not_found,
)
from kserve_v2.torchserve_api.places import Place
from kserve_v2.torchserve_api.precedence import Served

OUR_VERSION = "1"
"""Of the model of ours that a version of TorchServe's is. It is asked for by this as well: requests to its name alone
may be answered by the default version.
"""


@dataclass(slots=True)
class Registration:
    """One version of a model. `key`: the name of the model of ours that it is."""

    name: str
    version: str
    key: str
    url: str
    place: Place
    archive: Archive
    served: Served
    handler: str = ""
    at_startup: bool = False
    started_at: float = field(default_factory=time.time)
    down_since: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def workers(self) -> int:
        """How many there are to be."""
        return self.served.min_workers


class Catalog:
    """On the server's event loop."""

    def __init__(self, reserved: Collection[str] = ()) -> None:
        """`reserved`: names of other models of ours."""
        self._models: dict[str, dict[str, Registration]] = {}
        self._defaults: dict[str, str] = {}
        self._reserved = frozenset(reserved)

    @property
    def names(self) -> list[str]:
        """Of all models, in their order."""
        return sorted(self._models)

    @property
    def at_startup(self) -> list[str]:
        """The models that were registered at the start."""
        return [
            name
            for name, versions in self._models.items()
            if any(each.at_startup for each in versions.values())
        ]

    @property
    def listed(self) -> list[str]:
        """The models that clients are shown: without the functions of workflows."""
        return [name for name in self.names if self.find(name).url]

    def versions(self, name: str) -> Sequence[Registration]:
        """All versions of a model, in their order. Raises TorchServeError for an unknown model."""
        if name not in self._models:
            raise model_not_found(name)
        return [each for _, each in sorted(self._models[name].items())]

    def find(self, name: str, version: str = "") -> Registration:
        """One version of a model, the default one if none is named. Raises TorchServeError."""
        versions = self._models.get(name)
        if versions is None:
            raise model_not_found(name)
        found = versions.get(version or self._defaults[name])
        if found is None:
            raise version_not_found(name, version)
        return found

    def has(self, found: Registration) -> bool:
        """Whether it is registered still."""
        return self._models.get(found.name, {}).get(found.version) is found

    def uses(self, key: str) -> bool:
        """Whether some version is that model of ours."""
        return any(each.key == key for versions in self._models.values() for each in versions.values())

    def check_new(self, name: str, version: str) -> None:
        """Raise TorchServeError for a version that is registered."""
        if version in self._models.get(name, {}):
            raise already_registered(name, version)

    def key_for(self, name: str, version: str) -> str:
        """A name for the model of ours that a new version is: the model's own for the first of its versions. Raises
        InvalidArgumentError for what can be none.
        """
        check_new_name(name)
        key = f"{name}@{version}" if name in self._models or name in self._reserved else name
        while key in self._reserved or self.uses(key):
            key += "_"
        check_new_name(key)
        return key

    def add(self, found: Registration, *, default: bool = False) -> None:
        """Register a version. The first one of a model is its default, as is one that is to be."""
        self._models.setdefault(found.name, {})[found.version] = found
        if default or found.name not in self._defaults:
            self._defaults[found.name] = found.version

    def remove(self, found: Registration) -> None:
        """Forget a version, if it is registered still."""
        if not self.has(found):
            return
        versions = self._models[found.name]
        del versions[found.version]
        if not versions:
            del self._models[found.name], self._defaults[found.name]
        elif self._defaults[found.name] == found.version:
            # It has never answered.
            self._defaults[found.name] = next(iter(versions))

    def set_default(self, name: str, version: str) -> None:
        """Have another version answer requests that name none. Raises TorchServeError."""
        if name not in self._models:
            raise model_not_found(name)
        if version not in self._models[name]:
            raise no_such_version_to_choose(name, version)
        self._defaults[name] = version

    def removable(self, name: str, version: str = "") -> Registration:
        """A version that may be unregistered. Raises TorchServeError."""
        found = self.find(name, version)
        if self._defaults[name] == found.version and len(self._models[name]) > 1:
            raise default_version_stays(name)
        return found
