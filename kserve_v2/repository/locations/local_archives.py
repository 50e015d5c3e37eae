"""Archives of models in a local folder, or one archive of many models."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from kserve_v2.repository.locations.manifest import Item, Manifest
from kserve_v2.repository.locations.names import name_problem
from kserve_v2.repository.locations.store import Found, archive_name, without_doubles


class _LocalFiles:
    """Files whose keys are their paths."""

    def read(self, item: Item, start: int, end: int) -> bytes:
        """See `Readable`."""
        with Path(item.key).open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def counts(self, item: Item) -> bool:
        """See `Readable`."""
        return True


class LocalArchives(_LocalFiles):
    """The archives that lie in a folder of models. Used on several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.shown = str(folder)

    def found(self) -> Collection[Found]:
        """See `Store`. Raises OSError if the folder cannot be listed."""
        return without_doubles(self._found())

    def find(self, name: str) -> Found | None:
        """See `Store`. Of the others, no more than their names is read: endings may be in capitals."""
        if name_problem(name):
            return None
        found = without_doubles(self._found(name))
        return found[0] if found else None

    def _found(self, wanted: str = "") -> Iterator[Found]:
        with os.scandir(self._folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        for name in names:
            model = archive_name(name)
            if model and wanted in ("", model) and (self._folder / name).is_file():
                yield Found(model, name)

    def manifest(self, found: Found) -> Manifest | None:
        """See `Store`."""
        return _manifest(self._folder / found.archive)


class LocalArchive(_LocalFiles):
    """One archive as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shown = str(path)

    def whole(self) -> Manifest | None:
        """The archive as it is now; None if it is not there."""
        return _manifest(self._path)


def _manifest(path: Path) -> Manifest | None:
    try:
        status = path.stat()
    except OSError:
        return None
    tag = f"{status.st_mtime_ns}-{status.st_ino}"
    return Manifest((Item(path.name, str(path), status.st_size, tag, None, status.st_mtime),), archive=True)
