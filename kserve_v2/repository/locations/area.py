"""What is staged of one location. A model's files are put together where nobody looks, and shown by a rename when they
are whole; another content of it is another tree, shown by replacing a link.

    models/<name>                       link to the tree that is to be served: the folder of models that the server sees
    trees/<name>/<fingerprint>/<name>   a model's files, whole; beside them a note of what they are
    partial/<name>/                     files under way, continued if the server is started again
    making/                             what is put together or taken apart
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePath
from threading import RLock
from typing import Any

_NOTE = "manifest.json"
TREES, _MODELS = "trees", "models"
# How long what has been replaced is kept, at the least: whoever has just found it may be about to read it.
KEPT_S = 60.0


class Area:
    """One location's part of the staging folder."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Make what is missing of it, and take away what a killed server was making. Raises OSError."""
        self.path = path
        self.models = path / _MODELS
        self._trees, self._partial, self._making = path / TREES, path / "partial", path / "making"
        self._clock = clock
        # Tree → when it was replaced.
        self._replaced: dict[Path, float] = {}
        self._checked: set[Path] = set()
        # Trees that were found or made, and are about to be shown.
        self._held: set[Path] = set()
        self._lock = RLock()
        if self._making.exists():
            remove(self._making)
        for each in (self.models, self._trees, self._partial, self._making):
            each.mkdir(parents=True, exist_ok=True)
        # What an earlier server has shown may be gone where it came from: it is shown when that is known.
        self._former = {name: tree_of(self.models / name) for name in self.names}
        for name in self._former:
            (self.models / name).unlink()
        self._replace_former()

    def _replace_former(self) -> None:
        """Of what an earlier server has left, one tree of each model may be served again: that which was shown last or,
        if none was when it ended, the newest.
        """
        for model in self._trees.iterdir():
            self._replace(model.name)
            contents = [tree / model.name for tree in model.iterdir()]
            former = self._former.get(model.name)
            last = former if former in contents else max(contents, key=_made_at, default=None)
            if last is not None:
                self._replaced.pop(last.parent, None)

    def find(self, name: str, fingerprint: str) -> Path | None:
        """A tree that is whole, and stays until it was shown; None if there is none."""
        with self._lock:
            content = self._find(name, fingerprint)
            if content is not None:
                self._held.add(content.parent)
            return content

    def _find(self, name: str, fingerprint: str) -> Path | None:
        tree = self._trees / name / fingerprint
        noted = note_of(tree / name)
        if noted is None:
            return None
        content = tree / name
        if tree not in self._checked:
            # Others may have been at it while no server ran.
            for path, size in noted["files"].items():
                try:
                    if (content / path).lstat().st_size != size:
                        return None
                except OSError:
                    return None
            self._checked.add(tree)
        return content

    def make(
        self, name: str, fingerprint: str, note: Mapping[str, Any], fill: Callable[[Path], None]
    ) -> Path:
        """Put a tree together: `fill` gets the path of its directory, which is not there yet, and may raise."""
        work = self._making / secrets.token_hex(8)
        work.mkdir()
        tree = self._trees / name / fingerprint
        try:
            content = work / name
            fill(content)
            # Of a link, nothing: what it leads to changes as it likes.
            found = [] if content.is_symlink() else _files(content)
            files = {str(path.relative_to(content)): path.lstat().st_size for path in found}
            (work / _NOTE).write_text(json.dumps({**note, "files": files}, indent=1))
            with self._lock:
                if tree.exists():
                    self._take_away(tree)
                tree.parent.mkdir(exist_ok=True)
                work.rename(tree)
                self._checked.add(tree)
                self._held.add(tree)
        except BaseException:
            remove(work)
            raise
        return tree / name

    def show(self, name: str, content: Path) -> bool:
        """Serve this tree as the model from now on. Says whether that is news."""
        target = f"../{content.relative_to(self.path)}"
        with self._lock:
            before = self.shown(name)
            if before != content:
                link = self._making / secrets.token_hex(8)
                link.symlink_to(target)
                link.replace(self.models / name)
                self._replace(name)
            self._replaced.pop(content.parent, None)
            self.let_go(name)
        return before != content

    def fall_back(self, name: str, in_use: Iterable[Path]) -> None:
        """Of a model whose tree nobody uses, though another one of it is in use, show that again: what was not loaded
        before there was another content is not needed, and need not keep its room from that.
        """
        needed = _with_parents(in_use)
        with self._lock:
            shown = self.shown(name)
            if shown is None or shown in needed or shown.parent in self._held:
                return
            used = [tree / name for tree in shown.parent.parent.iterdir() if tree / name in needed]
            if used:
                self.show(name, max(used, key=_made_at))

    def hide(self, name: str) -> bool:
        """Show a model no longer. Says whether it was shown."""
        with self._lock:
            before = self.shown(name)
            if before is not None:
                (self.models / name).unlink()
            self._replace(name)
        return before is not None

    def inside(self, path: Path) -> tuple[str, PurePath] | None:
        """The model that a file is of, by a path of its tree or of the link to that, and where it lies there; None for
        what is none of these.
        """
        parts = path.relative_to(self.path).parts if path.is_relative_to(self.path) else ()
        before = {TREES: 4, _MODELS: 2}.get(parts[0], 0) if parts else 0
        return (parts[1], PurePath(*parts[before:])) if 0 < before <= len(parts) else None

    def shown(self, name: str) -> Path | None:
        """The tree that is served as a model."""
        link = self.models / name
        return tree_of(link) if link.is_symlink() else None

    @property
    def names(self) -> list[str]:
        """The models that are shown."""
        return sorted(path.name for path in self.models.iterdir())

    @property
    def kept(self) -> list[str]:
        """The models of which there is a tree, shown or not."""
        return sorted(path.name for path in self._trees.iterdir())

    def noted(self, name: str) -> tuple[Path, dict[str, Any]] | None:
        """The tree that is shown for a model, or was when there was a server last, with what was noted of it."""
        content = self.shown(name) or self._former.get(name)
        if content is None:
            return None
        with self._lock:
            # Its files may become those of the next one.
            self._held.add(content.parent)
        found = note_of(content)
        return (content, found) if found is not None else None

    def let_go(self, name: str) -> None:
        """None of a model's trees is about to be shown."""
        with self._lock:
            self._held = {tree for tree in self._held if tree.parent.name != name}

    def partial(self, name: str) -> Path:
        """The directory for files of a model that are under way."""
        directory = self._partial / name
        directory.mkdir(exist_ok=True)
        return directory

    def partial_bytes(self, name: str) -> int:
        """What they have."""
        return bytes_below([self._partial / name])

    def bytes(self) -> int:
        """What all of it has. No tree moves meanwhile: one that does would be seen at neither place."""
        with self._lock:
            return bytes_below([self.path])

    def forget_partial_of(self, name: str) -> None:
        """They have become a tree."""
        remove(self._partial / name)

    def forget_partial(self, but: Collection[str]) -> None:
        """Give up files that are not under way any more, but for those of some models."""
        for directory in self._partial.iterdir():
            if directory.name not in but:
                remove(directory)

    @property
    def has_replaced(self) -> bool:
        """Whether there are trees that have been replaced."""
        return bool(self._replaced)

    def prune(self, in_use: Iterable[Path], *, at_once: bool = False) -> None:
        """Remove the trees that have been replaced and are not in use; `at_once`, also those that were replaced just
        now, and those of an earlier server. What is `in_use` may be a tree, or lie in one.
        """
        with self._lock:
            needed = _with_parents(in_use)
            every = [each for model in self._trees.iterdir() for each in model.iterdir()] if at_once else []
            for tree in [*self._replaced, *every]:
                content = tree / tree.parent.name
                young = self._clock() - self._replaced.get(tree, float("-inf")) < KEPT_S
                used = content in needed or tree in self._held or self.shown(content.name) == content
                if not tree.exists():
                    self._replaced.pop(tree, None)
                elif not used and (at_once or not young):
                    self._take_away(tree)

    def _replace(self, name: str) -> None:
        """All trees of a model are, but for that which may be shown now."""
        model = self._trees / name
        for tree in model.iterdir() if model.is_dir() else ():
            self._replaced.setdefault(tree, self._clock())

    def _take_away(self, tree: Path) -> None:
        """Remove a tree. What is half removed is no tree."""
        self._replaced.pop(tree, None)
        self._checked.discard(tree)
        going = self._making / secrets.token_hex(8)
        tree.rename(going)
        remove(going)
        if not any(tree.parent.iterdir()):
            tree.parent.rmdir()


def _with_parents(paths: Iterable[Path]) -> set[Path]:
    return {path for each in paths for path in (each, *each.parents)}


def _made_at(content: Path) -> float:
    """When a tree was put together; before all others for one that is not whole."""
    try:
        return (content.parent / _NOTE).stat().st_mtime
    except OSError:
        return float("-inf")


def note_of(content: Path) -> dict[str, Any] | None:
    """What was noted of a model's directory when it was put together; None for one that is no tree."""
    try:
        noted = json.loads((content.parent / _NOTE).read_bytes())
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) and "files" in noted and "items" in noted else None


def tree_of(path: Path) -> Path:
    """A model's directory; for a staged one that of its tree, which stays as it is when another one is shown, so that a
    load never sees files of both.
    """
    try:
        target = os.readlink(path)  # noqa: PTH115 - Path's would normalize it
    except OSError:
        return path
    if not target.startswith(f"../{TREES}/") or path.parent.name != _MODELS:
        return path
    return path.parent.parent.joinpath(*target.split("/")[1:])


def is_staged(path: Path) -> bool:
    """Whether a model's directory is a tree: what is written there is lost when another one is shown. A link to a
    folder is none.
    """
    in_tree = path.parent.parent.parent.name == TREES and (path.parent / _NOTE).is_file()
    return in_tree and not path.is_symlink()


def lasting_path(path: Path) -> Path:
    """A model's directory by a name that does not change with its content: the reverse of `tree_of`."""
    return path.parent.parent.parent.parent / _MODELS / path.name if is_staged(path) else path


def bytes_below(tops: Iterable[Path]) -> int:
    """Bytes of all files, those with several names once."""
    sizes: dict[tuple[int, int], int] = {}
    for top in tops:
        for path in _files(top):
            try:
                status = path.lstat()
            except OSError:
                continue
            sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def remove(path: Path) -> None:
    """Remove a directory and all that is in it, as far as that is possible; of links only themselves."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _files(top: Path) -> list[Path]:
    """What lies below a directory and is no directory."""
    return [Path(directory, name) for directory, _, names in os.walk(top) for name in names]
