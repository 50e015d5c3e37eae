"""What is on disk: model repositories to an immutable snapshot, from directories and file times alone.

A repository is a directory of model directories; a model's versions are its sub-directories with decimal
names. Symbolic links are followed: whoever can write to a repository decides what is in it. A client only
gives a name, and a name only ever selects one of the entries that listing the repository shows, so it cannot
lead anywhere else.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from kserve_v2.config.files import INITIAL_STATE_FOLDER
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.file_names import is_text
from kserve_v2.repository.locations.area import is_staged, tree_of
from kserve_v2.repository.reading.inodes import inodes_stay
from kserve_v2.repository.reading.layout import (
    CONFIG,
    advice_at_the_top,
    is_hidden,
    is_no_model,
    is_shown_elsewhere,
    is_system_directory,
    is_version,
)

_NAMED_CONFIGURATIONS = "configs"
# What file systems take for one name.
_MAX_NAME_BYTES = 255
# Platforms whose file systems find a file under other spellings of its name, such as other capitals.
_LOOSE_NAMES = {"darwin", "win32"}
_CONFIGURATION = frozenset({CONFIG, _NAMED_CONFIGURATIONS})
SHOWN_ELSEWHERE = "is MLServer's, and served as that"
"""Why a directory is passed over that another location shows."""

_DUPLICATE = "model appears in two or more repositories"

RELEASE_FILE = "release.json"
"""What a model's release is kept in. The server writes it, and no model reads it."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What changes when files change, apart by whom that concerns.

    `configuration`: of config.pbtxt and the named configurations, whose contents count and not their times. `shared`:
    of what else lies beside the versions, which each of them may read. `versions`: of the files of each version.
    `release`: of the release file, for which nothing is loaded again.
    """

    configuration: str = ""
    shared: str = ""
    versions: Mapping[int, str] = field(default_factory=dict)
    release: str = ""

    @property
    def all(self) -> str:
        """Changes when any file does that the model may read, or its release."""
        texts = f"{self.configuration}/{self.shared}/{self.release}"
        digest = hashlib.blake2b(texts.encode(), digest_size=16)
        for version, fingerprint in sorted(self.versions.items()):
            digest.update(f"/{version}:{fingerprint}".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model directory.

    `versions`: the readable ones, ascending. `problem`: why the directory cannot be used as it is, or None. `places`:
    all directories of the name, if that is why.
    """

    name: str
    path: Path
    versions: tuple[int, ...]
    fingerprints: Fingerprints = field(default_factory=Fingerprints)
    problem: str | None = None
    places: tuple[Path, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes when a file that the model may read changes."""
        return self.fingerprints.all


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in a repository that is passed over. `name`: of the file or directory. `reason`: what is wrong with it,
    to be read behind its name. `foreign`: it is there for another program, and nothing is wrong.
    """

    name: str
    reason: str
    foreign: bool = False

    def __str__(self) -> str:
        shown = f"'{self.name}'" if is_text(self.name) else ascii(self.name)
        return f"{shown} {self.reason}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All models of all repositories at one moment, by name, in the order of names.

    `skipped`: what else lies in the repositories and is passed over, each with the reason.
    """

    models: Mapping[str, ModelEntry]
    skipped: tuple[Skipped, ...] = ()


def scan(roots: Sequence[Path]) -> Snapshot:
    """Read all repositories.

    A name in two of them is one entry with a problem. Raises OSError for a repository that cannot be listed:
    that it looks empty must not be taken for the wish to unload everything.
    """
    models: dict[str, ModelEntry] = {}
    skipped: list[Skipped] = []
    for root in roots:
        for entry in _listing(root):
            if not _is_directory_or_broken(entry):
                if advice := advice_at_the_top(entry.name):
                    skipped.append(Skipped(entry.name, advice))
                continue
            if problem := _name_problem(entry.name):
                skipped.append(Skipped(entry.name, problem))
                continue
            model = _read_model(tree_of(Path(entry.path)))
            if reason := _reason_to_skip(model):
                if reason is not SHOWN_ELSEWHERE:
                    skipped.append(Skipped(entry.name, reason, is_system_directory(entry.name)))
                continue
            found = models.get(entry.name)
            models[entry.name] = _duplicate(found, model) if found else model
    return Snapshot(MappingProxyType(dict(sorted(models.items()))), tuple(skipped))


def is_skipped(model: ModelEntry) -> bool:
    """Whether `scan` passes a directory over."""
    return _reason_to_skip(model) is not None


def with_absent(snapshot: Snapshot, problems: Mapping[str, str | None]) -> Snapshot:
    """A snapshot with models as well that are not here. `problems`: why they could not be brought here, by name."""
    absent = {
        name: absent_entry(name, problem) for name, problem in problems.items() if name not in snapshot.models
    }
    if not absent:
        return snapshot
    return replace(snapshot, models=MappingProxyType(dict(sorted({**snapshot.models, **absent}.items()))))


def absent_entry(name: str, problem: str | None) -> ModelEntry:
    """A model that is somewhere else, and could be brought here. `problem`: why that has failed."""
    return ModelEntry(name, Path(name), (), problem=problem)


def _reason_to_skip(model: ModelEntry) -> str | None:
    """Why a directory is no model, or None if it is one, or was meant to be one."""
    if is_system_directory(model.path.name):
        return "belongs to the file system or to another program"
    if is_shown_elsewhere(model.path):
        return SHOWN_ELSEWHERE
    if model.versions or model.problem:
        return None
    return "has neither a version nor a config.pbtxt" if is_no_model(model.path) else None


def scan_model(roots: Sequence[Path], name: str) -> ModelEntry | None:
    """Read one model, whose name may come from a client; None if no repository has it. How many others there are
    makes no difference.

    Raises InvalidArgumentError for a name that is empty or looks like a path, OSError as `scan`.
    """
    check_model_name(name)
    paths = [root / name for root in roots if _has_model(root, name)]
    if not paths:
        return None
    found = [_read_model(tree_of(path)) for path in paths]
    # A directory that `scan` skips is read if a client asks for it by name, so that the error can say why. It hides no
    # model of the same name in another repository.
    models = [model for model in found if _reason_to_skip(model) is None] if len(found) > 1 else found
    model = models[0] if models else found[0]
    return _duplicate(*models) if len(models) > 1 else model


def _duplicate(*models: ModelEntry) -> ModelEntry:
    """The entry of a name that several have."""
    places = tuple(place for each in models for place in each.places or (each.path,))
    return replace(models[0], problem=_DUPLICATE, places=places)


def scan_folder(path: Path) -> ModelEntry:
    """Read a model's directory that lies in no repository; it has the model's name."""
    return _read_model(path)


def check_new_name(name: str) -> None:
    """Raise InvalidArgumentError unless a repository could have a model of that name, and list it."""
    check_model_name(name)
    if (
        is_hidden(name)
        or is_system_directory(name)
        or not is_text(name)
        or len(name.encode()) > _MAX_NAME_BYTES
    ):
        raise InvalidArgumentError(
            f"invalid model name '{ascii(name)[1:-1]}', no model repository could have a directory of that name"
        )


def _has_model(root: Path, name: str) -> bool:
    """Whether the listing of a repository would show a model, without making it."""
    with os.scandir(root) as entries:
        if sys.platform in _LOOSE_NAMES and all(entry.name != name for entry in entries):
            return False
    if is_hidden(name) or not is_text(name):
        return False
    try:
        return stat.S_ISDIR((root / name).stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return os.path.islink(root / name)  # noqa: PTH114 - Path's fails for a name that is too long


def check_model_name(name: str) -> None:
    """Raise InvalidArgumentError unless `name` is a single path component."""
    if not name.strip():
        raise InvalidArgumentError("Model name cannot be empty. Please enter a valid name to deploy.")
    if name.strip() in {".", ".."} or any(mark in name for mark in "/\\\0"):
        shown = name.replace("\0", "\\0")
        raise InvalidArgumentError(
            f"invalid model name '{shown}', model name must not contain path traversal characters"
        )


def config_path(entry: ModelEntry, config_name: str | None = None) -> Path | None:
    """Return the configuration file to read, or None if the model has none.

    That is `configs/<config_name>.pbtxt` where a name is given and the file exists, else `config.pbtxt`.
    """
    candidates = [entry.path / CONFIG]
    if config_name:
        candidates.insert(0, entry.path / _NAMED_CONFIGURATIONS / f"{config_name}.pbtxt")
    # What has the name and is no file, such as a link that leads nowhere, is there to be reported.
    return next((path for path in candidates if os.path.lexists(path)), None)


def _listing(directory: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a directory that are not hidden, by name."""
    with os.scandir(directory) as entries:
        visible = [entry for entry in entries if not is_hidden(entry.name)]
    return sorted(visible, key=lambda entry: entry.name)


def _name_problem(name: str) -> str | None:
    """Why no client could ask for a model of that name; None if any can."""
    if not is_text(name):
        return "has control characters in its name, or is not UTF-8, and cannot be a model: rename it"
    try:
        check_model_name(name)
    except InvalidArgumentError:
        return "has a name that no model can have: rename it, without a backslash, and not to dots or spaces alone"
    return None


def _is_directory_or_broken(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a directory; a link that leads nowhere is one, to be reported."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _read_model(path: Path) -> ModelEntry:
    try:
        children = _listing(path)
    except OSError as error:
        reason = _link_to_nowhere(path) or error.strerror
        problem = f"model directory cannot be read: {reason}"
        return ModelEntry(path.name, path, (), problem=problem)
    configuration, shared, release = _digest(), _digest(), _digest()
    versions: dict[int, str] = {}
    problems: list[str] = []
    # In a staged tree, of a model or of a repository, times tell contents, and the same file may be another one.
    real = path.resolve()
    numbered = not (is_staged(real) or is_staged(real.parent))
    if path.is_symlink():
        shared.update(_name_record("", path))
    for child in children:
        versioned = is_version(child.name) and _is_directory_or_broken(child)
        beside = configuration if child.name in _CONFIGURATION else shared
        beside = release if child.name == RELEASE_FILE else beside
        digest = _digest() if versioned else beside
        try:
            for record in _records(child, versioned=versioned, numbered=numbered):
                digest.update(record)
        except OSError as error:
            subject = f"version {child.name}" if versioned else child.name
            problems.append(f"{subject} cannot be read: {_reason(error, path)}")
            continue
        if versioned:
            versions[int(child.name)] = digest.hexdigest()
    fingerprints = Fingerprints(configuration.hexdigest(), shared.hexdigest(), versions, release.hexdigest())
    return ModelEntry(
        path.name, path, tuple(sorted(versions)), fingerprints, problem="; ".join(problems) or None
    )


def _digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)


def _reason(error: OSError, model: Path) -> str | None:
    """Why something in the model's directory cannot be read, with the name of a file that lies deeper."""
    if error.filename is None:
        return error.strerror
    path = Path(os.fsdecode(error.filename))
    reason = _link_to_nowhere(path) or error.strerror
    deeper = path.is_relative_to(model) and path.parent != model
    return f"{path.relative_to(model)}: {reason}" if deeper else reason


def _link_to_nowhere(path: Path) -> str | None:
    try:
        path.stat()
    except FileNotFoundError:
        return "it is a link to something that does not exist" if path.is_symlink() else None
    except OSError:
        pass
    return None


def _records(child: os.DirEntry[str], *, versioned: bool, numbered: bool) -> Iterator[bytes]:
    """Yield one record for each file of the model that `child` is or contains.

    Those are the files beside the versions (configuration, labels), the named configurations, the initial states of
    sequences, and the versions.
    """
    states = child.name == INITIAL_STATE_FOLDER and child.is_dir()
    if versioned or states or child.name == _NAMED_CONFIGURATIONS:
        yield from _tree_records(Path(child.path), numbered=numbered)
    elif child.is_file():
        yield _record(child.name, Path(child.path), numbered=numbered)
    elif child.name in {CONFIG, RELEASE_FILE}:
        kind = stat.S_IFMT(child.stat(follow_symlinks=False).st_mode)
        yield _name_record(f"{child.name}\0{kind}", Path(child.path))


def _tree_records(top: Path, *, numbered: bool) -> Iterator[bytes]:
    yield _name_record(f"{top.name}/", top)
    seen = {_identity(top)}
    for directory, subdirectories, files in os.walk(top, onerror=_raise, followlinks=True):
        # Those behind links as well, such as a ConfigMap's; but a link that leads up has no end.
        subdirectories[:] = [
            name
            for name in sorted(subdirectories)
            if not is_hidden(name) and _is_new(Path(directory, name), seen)
        ]
        for name in subdirectories:
            if (path := Path(directory, name)).is_symlink():
                yield _name_record(f"{path.relative_to(top.parent)}/", path)
        for name in sorted(files):
            path = Path(directory, name)
            if not is_hidden(name):
                yield _record(str(path.relative_to(top.parent)), path, numbered=numbered)


def _is_new(directory: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a directory was not seen before, by whatever name."""
    identity = _identity(directory)
    new = identity not in seen
    seen.add(identity)
    return new


def _identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _record(name: str, path: Path, *, numbered: bool) -> bytes:
    """`numbered`: another file is another one, though it is as old and as large."""
    status = path.stat()
    inode = status.st_ino if numbered and inodes_stay(status.st_dev) else ""
    return _name_record(f"{name}\0{status.st_mtime_ns}\0{status.st_size}\0{inode}", path)


def _name_record(text: str, path: Path) -> bytes:
    """With where a link leads: what it is swapped for may be as old, to the nanosecond, and as large. Archives, images
    and stores of packages often give all files the same time, and weights of one architecture are of one size.
    """
    target = path.readlink() if path.is_symlink() else ""
    return f"{text}\0{target}\0".encode("utf-8", "surrogateescape")


def _raise(error: OSError) -> None:
    raise error
