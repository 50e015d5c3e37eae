"""Making folders in a repository whole or not at all: first beside it, hidden from servers, then by their names."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kserve_v2.commands.command import CommandError, UsageError
from kserve_v2.repository.locations.flat import is_one_model
from kserve_v2.repository.reading.layout import is_system_directory, is_version
from kserve_v2.repository.temporary_folder import TemporaryFolder, remove_leftovers

_HIDDEN = ".init-"


def check_name(name: str) -> None:
    """Raises UsageError for a name that a model's folder should not have."""
    if not name or not all(c.isalnum() or c in "_.-" for c in name) or name[0] in ".-":
        raise UsageError(
            f"NAME: expected letters, digits, '_', '-' and '.', not at the beginning, got {name!r}"
        )
    if is_version(name) or is_system_directory(name):
        raise UsageError(f"NAME: {name!r} is taken for something else in a repository: choose another name")


@contextmanager
def staging(repository: Path, names: Sequence[str]) -> Iterator[Path]:
    """A hidden folder in which those models are made. At the end of the block they are moved to the repository; after a
    failure nothing is left. What an earlier one has left that was killed is removed. Raises CommandError for names that
    are taken, and where nothing can be written.
    """
    _raise_if_unfit(repository, names)
    hidden = TemporaryFolder(_HIDDEN, repository)
    try:
        made = _make_directories(repository)
        remove_leftovers(repository, (_HIDDEN,))
        folder = repository / hidden.open().name
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    moved: list[Path] = []
    try:
        yield folder
        for name in names:
            (folder / name).rename(repository / name)
            moved.append(repository / name)
    except BaseException as error:
        for path in moved:
            shutil.rmtree(path, ignore_errors=True)
        hidden.close()
        for path in made:
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            where = error.filename2 or error.filename
            raise CommandError(f"{where}: {error.strerror}; nothing was made") from None
        raise
    hidden.close()


def _raise_if_unfit(repository: Path, names: Sequence[str]) -> None:
    for name in names:
        if os.path.lexists(repository / name):
            raise CommandError(
                f"{repository / name} exists already: nothing is overwritten, choose another name"
            )
    if repository.is_dir() and is_one_model(repository):
        raise CommandError(
            f"{repository} is the folder of a model, and no repository, which is a folder of such folders: give "
            "another one as --model-repository"
        )


def _make_directories(path: Path) -> list[Path]:
    """Make a directory and those above it; returns those that were not there, the innermost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        each.mkdir()
    return missing
