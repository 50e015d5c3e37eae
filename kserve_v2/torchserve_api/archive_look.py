"""What an archive says of its model, read without unpacking it."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_v2_child.torchserve.manifest import PLACE, Manifest, ManifestError, parse_manifest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.regular_files import read_regular
from kserve_v2.torchserve.model_config import parse_model_yaml
from kserve_v2.unpacking import is_tar_file, open_tar

_MOST_BYTES = 1 << 20
# A member that is asked for is near the end; a file of many empty members takes long to pass.
_MOST_MEMBERS = 20_000

Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Archive:
    """`manifest`: empty for one without. `written`: the whole of its model-config.yaml."""

    manifest: Manifest
    written: Mapping[str, Any]


def look(path: Path) -> Archive:
    """What an archive, or a folder, says. Blocks. Raises InvalidArgumentError for what is none."""
    try:
        if path.is_dir():
            return _look(lambda name: _of_folder(path, name))
        if is_tar_file(path):
            return _look(_of_tar(path))
        with zipfile.ZipFile(path) as archive:
            return _look(lambda name: _of_zip(archive, name))
    except ManifestError as error:
        raise InvalidArgumentError(str(error)) from None
    except InvalidArgumentError:
        raise
    except OSError as error:
        raise InvalidArgumentError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - whatever a decompressor raises
        raise InvalidArgumentError(f"{path.name} is no archive that can be read: {error}") from None


def _look(read: Read) -> Archive:
    text = read(PLACE)
    manifest = Manifest() if text is None else parse_manifest(text)
    written: Mapping[str, Any] = {}
    if manifest.config_file:
        text = read(manifest.config_file)
        if text is None:
            raise InvalidArgumentError(
                f"{manifest.config_file}, the configFile of {PLACE}, is not in the archive"
            )
        written = parse_model_yaml(text, manifest.config_file)
    return Archive(manifest, written)


def _of_folder(folder: Path, name: str) -> bytes | None:
    try:
        return _bounded(read_regular(folder / name), name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _of_zip(archive: zipfile.ZipFile, name: str) -> bytes | None:
    try:
        with archive.open(name) as file:
            return _bounded(file.read(_MOST_BYTES + 1), name)
    except (KeyError, RuntimeError):
        # The latter: it is encrypted.
        return None


def _of_tar(path: Path) -> Read:
    """Its members lie below one folder, whose name says nothing."""

    def read(name: str) -> bytes | None:
        with open_tar(path) as archive:
            for number, member in enumerate(archive):
                if number > _MOST_MEMBERS:
                    raise InvalidArgumentError(f"{path.name} has more than {_MOST_MEMBERS} members")
                if member.isfile() and member.name.removeprefix("./").partition("/")[2] == name:
                    file = archive.extractfile(member)
                    return _bounded(file.read(_MOST_BYTES + 1), name) if file is not None else None
        return None

    return read


def _bounded(text: bytes, name: str) -> bytes:
    if len(text) > _MOST_BYTES:
        raise InvalidArgumentError(f"{name} is larger than {_MOST_BYTES} bytes")
    return text
