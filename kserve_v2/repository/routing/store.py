"""Where releases are kept: a file for each model, which is replaced as a whole, so that a server which is killed at any
moment finds the release before a change or the one after it.
"""

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kserve_v2.backend import ModelConfig
from kserve_v2.config.release import (
    MAX_RELEASE_BYTES,
    NO_RELEASE,
    RELEASE,
    Release,
    configured_release,
    parse_release,
)
from kserve_v2.errors import InvalidArgumentError, UnavailableError
from kserve_v2.regular_files import read_regular
from kserve_v2.repository.locations.area import is_staged, tree_of
from kserve_v2.repository.locations.linked import is_of_links
from kserve_v2.repository.reading.scan import RELEASE_FILE

CONFIGURATION = "configuration"

# How old what a change was writing is if whoever did that has been killed.
_STRAY_AFTER_S = 300.0
_LOST = "it comes from elsewhere, and what is written to its copy here is lost"
_NO_FOLDER = "its files lie in no folder with folders for versions, and nothing is written beside them"


@dataclass(frozen=True, slots=True)
class Found:
    """A release and where it is from: the release file, the `configuration`, or nowhere ("")."""

    release: Release = NO_RELEASE
    source: str = ""


NOTHING_FOUND = Found()


def find_release(name: str, model_path: Path | None, config: ModelConfig, directory: Path | None) -> Found:
    """The release of a model: that of its file, or of its configuration if there is no file. `model_path`: its
    directory in a repository, None if it has none. `directory`: where files are kept beside the repositories; the
    model's own directory counts as well, until there is one. Blocks. Raises InvalidArgumentError for a file, or a
    parameter, that is wrong.
    """
    if (kept := kept_release(name, model_path, directory)) is not None:
        return Found(kept, RELEASE_FILE)
    try:
        release = configured_release(config)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"parameters['{RELEASE}']: {error.message}") from None
    return Found(release, CONFIGURATION) if release else NOTHING_FOUND


def kept_release(name: str, model_path: Path | None, directory: Path | None) -> Release | None:
    """What the release file of a model says; None if there is none. As `find_release`."""
    for path in (directory and directory / name, model_path):
        text = _read(path / RELEASE_FILE) if path is not None else None
        if text is not None:
            try:
                return parse_release(text)
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"{RELEASE_FILE}: {error.message}") from None
    return None


def write_release(name: str, model_path: Path | None, directory: Path | None, text: str) -> None:
    """Keep a release, for good when this returns. Blocks. Raises UnavailableError if that cannot be done; then the file
    is as it was.
    """
    path = model_path if directory is None else directory / name
    if path is None:
        raise _not_kept(name, "no model repository has a directory of that name")
    if directory is None and is_staged(tree_of(path)):
        raise _not_kept(name, _NO_FOLDER if is_of_links(tree_of(path)) else _LOST)
    try:
        if directory is not None:
            path.mkdir(parents=True, exist_ok=True)
        _replace(path / RELEASE_FILE, text)
    except OSError as error:
        raise _not_kept(name, error.strerror or str(error)) from error


def remove_strays(name: str, model_path: Path | None, directory: Path | None) -> None:
    """Remove what servers have left beside a release that were killed while they wrote it, as far as that can be done.
    Blocks.
    """
    for folder in (directory and directory / name, model_path):
        with suppress(OSError):
            for path in folder.glob(f".{RELEASE_FILE}.*") if folder is not None else ():
                # A young one may be another server's, which writes it now.
                if time.time() - path.lstat().st_mtime > _STRAY_AFTER_S:
                    path.unlink()


def _not_kept(name: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"the release of model '{name}' cannot be kept, so it stays as it is: {why}; --release-directory names a "
        "directory for releases that can be written to"
    )


def _read(path: Path) -> bytes | None:
    try:
        data = read_regular(path, MAX_RELEASE_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not path.is_symlink():
            return None
        raise InvalidArgumentError(f"{RELEASE_FILE} cannot be read: {error.strerror}") from None
    if len(data) > MAX_RELEASE_BYTES:
        raise InvalidArgumentError(f"{RELEASE_FILE}: expected up to {MAX_RELEASE_BYTES} bytes, got more")
    return data


def _replace(path: Path, text: str) -> None:
    # Hidden, so that nobody takes it for a file of the model.
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Have the new name outlive a power failure, where directories can be opened."""
    with suppress(OSError):
        number = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
