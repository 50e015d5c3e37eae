"""Which models a name may mean, in a server that tells models apart by their repositories."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kserve_v2.messages import IndexEntry
from kserve_v2.repository.reading.namespaces import name_in


class KeysByName:
    """The keys of the models that a server knows. Without namespaces, a model's name is its key."""

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
