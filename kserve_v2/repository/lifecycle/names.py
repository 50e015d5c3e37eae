"""Which models a name means: one, or with `--model-namespacing` perhaps one in each repository. See
`reading.namespaces`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.messages import IndexEntry
from kserve_v2.repository.lifecycle.loader import Loader
from kserve_v2.repository.lifecycle.managed import ManagedModel
from kserve_v2.repository.models.ensembles import Ensembles
from kserve_v2.repository.reading.namespaces import Namespaces, ambiguous, name_in
from kserve_v2.repository.reading.scan import ModelEntry
from kserve_v2.repository.routing.served import Served

logger = logging.getLogger(__name__)


class Names:
    """Of the models that a server knows, which are all known by their keys. Without namespaces, a key is a name."""

    def __init__(
        self,
        spaces: Namespaces,
        models: Mapping[str, ManagedModel],
        is_wanted: Callable[[str], bool],
        published: Sequence[MutableMapping[str, Served]],
        loader: Loader,
        ensembles: Ensembles,
    ) -> None:
        """`models`: by key. `is_wanted`: whether one is loaded, or is to be when it is asked for. `published`: where
        requests, and others, look models up.
        """
        self.spaces = spaces
        self._models = models
        self._is_wanted = is_wanted
        self._published = published
        self._loader = loader
        self._ensembles = ensembles
        self._keys = KeysByName()
        # Looks at the disk that are under way, by name: whether an unload has overtaken them.
        self._looks: dict[str, list[Look]] = {}

    def add(self, key: str) -> None:
        """A model is known."""
        if self.spaces:
            self._keys.add(key)

    def remove(self, key: str) -> None:
        """A model is known no longer, if it was."""
        self._keys.remove(key)

    def model(self, name: str) -> ManagedModel | None:
        """A model that is or was loaded, by its name, if that means one alone, or its key."""
        if self.spaces and name not in self._models:
            keys = self._keys.of(name)
            return self._models[keys[0]] if len(keys) == 1 else None
        return self._models.get(name)

    def one(self, name: str) -> ManagedModel | None:
        """The same. Raises InvalidArgumentError for a name that means several."""
        self.raise_if_ambiguous(name)
        return self.model(name)

    def _meant(self, name: str) -> list[str]:
        """The keys of the models that a name may mean, or that key, as far as they are loaded or are to be."""
        return [key for key in self._keys.of(name) if self._is_wanted(key) or self._models[key].busy]

    def unloaded(self, name: str) -> Sequence[str]:
        """A name, or key, is to be served no longer. Returns the keys of the models that it means."""
        if not self.spaces:
            return (name,)
        for look in self._looks.get(name_in(name), ()):
            look.overtaken = True
        return self._meant(name)

    def raise_if_ambiguous(self, name: str) -> None:
        """Raise InvalidArgumentError for a name of several models."""
        if self.spaces and len(keys := self._meant(name)) > 1:
            raise ambiguous(name, len(keys))

    def publish(self, key: str) -> None:
        """Something of a model has changed: have its name answered by it, if it means that one alone."""
        if not self.spaces:
            return
        name = name_in(key)
        keys = self._meant(name)
        for published in self._published:
            if len(keys) == 1 and keys[0] in published:
                published[name] = published[keys[0]]
            elif keys != [name]:
                published.pop(name, None)

    def shortened(self, entries: list[IndexEntry]) -> list[IndexEntry]:
        """The index as it is shown."""
        return short_names(entries) if self.spaces else entries

    # --- on disk --------------------------------------------------------------------------------------------------

    async def on_disk(self, name: str, *, alone: bool) -> list[str]:
        """The keys of the models of that name, or that key, that there are on disk now; what has none is its own.
        Raises InvalidArgumentError for several, if it is to be `alone`, and UnavailableError if it is unloaded
        meanwhile.
        """
        look = Look()
        looks = self._looks.setdefault(name_in(name), [])
        looks.append(look)
        try:
            found = await self._loader.find(name)
        finally:
            looks.remove(look)
            if not looks:
                del self._looks[name_in(name)]
        if look.overtaken:
            raise UnavailableError(f"load failed for model '{name}': it was unloaded meanwhile")
        if alone:
            self.only(name, found)
        return [entry.name for entry in found] or [name]

    @staticmethod
    def only(name: str, found: Sequence[ModelEntry]) -> ModelEntry | None:
        """The model of that name; None if there is none. Raises InvalidArgumentError for several."""
        if len(found) > 1:
            raise ambiguous(name, len(found))
        return found[0] if found else None

    async def with_other_steps(self, name: str) -> list[str]:
        """The ensembles that have a step of that name which means another model now than when they were loaded."""
        changed: list[str] = []
        for ensemble, steps in self._ensembles.with_steps_named(name_in(name)):
            try:
                candidate = await self._loader.read(ensemble, None)
            except ServingError as error:
                logger.warning("ensemble '%s' stays as it is: %s", ensemble, error)
            else:
                meant = {step.model_name for step in candidate.config.ensemble_scheduling.step}
                changed += [ensemble] if meant != steps else []
        return changed


@dataclass(eq=False)
class Look:
    """At the disk, on behalf of a load. `overtaken`: an unload came after it."""

    overtaken: bool = False


class KeysByName:
    """The keys of the models that a server knows."""

    def __init__(self) -> None:
        self._keys: dict[str, list[str]] = {}

    def of(self, name: str) -> Sequence[str]:
        """All keys of a name; of a key, that one alone."""
        keys = self._keys.get(name_in(name), ())
        return keys if "/" not in name else [key for key in keys if key == name]

    def add(self, key: str) -> None:
        """A model is known."""
        self._keys.setdefault(name_in(key), []).append(key)

    def remove(self, key: str) -> None:
        """A model is known no longer, if it was."""
        keys = self._keys.get(name_in(key), [])
        if key in keys:
            keys.remove(key)
        if not keys:
            self._keys.pop(name_in(key), None)


def short_names(entries: Sequence[IndexEntry]) -> list[IndexEntry]:
    """The index with names in the place of keys, where a name means one model alone."""
    keys = Counter(name_in(key) for key in {entry.name for entry in entries})
    shown = [
        replace(entry, name=name_in(entry.name)) if keys[name_in(entry.name)] == 1 else entry
        for entry in entries
    ]
    return sorted(shown, key=lambda entry: (entry.name, int(entry.version or 0)))


async def all_done(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at the same time. Raises the first error once all is done."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
