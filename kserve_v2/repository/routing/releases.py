"""Changing releases while the server runs: one change of a model after the other, each kept in its file first."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from kserve_v2.config.release import changed_release, release_json, release_text
from kserve_v2.errors import InvalidArgumentError, NotFoundError, UnavailableError
from kserve_v2.repository.models.loaded import Lease, LoadedModel
from kserve_v2.repository.reading.scan import RELEASE_FILE, ModelEntry
from kserve_v2.repository.routing.routes import check_release, without_effect
from kserve_v2.repository.routing.served import Served, answering
from kserve_v2.repository.routing.state import ReleaseState
from kserve_v2.repository.routing.store import Found, kept_release, write_release
from kserve_v2.scheduling.failures import unheard

logger = logging.getLogger(__name__)


class Released(Protocol):
    """One model, and its release."""

    name: str
    served: Served | None
    released: ReleaseState

    @property
    def ready(self) -> list[LoadedModel]:
        """Its versions that are loaded."""
        ...

    @property
    def uploaded(self) -> frozenset[int]:
        """Those that are made from uploaded files."""
        ...


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """What a client is told. `source`: see `Found`. `ready`: the versions that answer, ascending. `problems`: what
    of the release is not done, as versions are not there, and what is the matter with its file.
    """

    name: str
    found: Found
    ready: Sequence[int]
    problems: Sequence[str] = ()


class Releases:
    """Lives on the event loop."""

    def __init__(
        self,
        directory: Path | None,
        find: Callable[[str], Released | None],
        on_disk: Callable[[str], Awaitable[ModelEntry | None]],
        changed: Callable[[str], None],
    ) -> None:
        """`directory`: where releases are kept, None for the models' own. `find`: a model by its name; `on_disk`: the
        same as the repositories have it now. `changed` is called when another release is in force; from then on no
        request is answered by the one before.
        """
        self._directory = directory
        self._find = find
        self._on_disk = on_disk
        self._changed = changed
        self._turn = asyncio.Lock()
        self._changes: set[asyncio.Task[ReleaseView]] = set()

    async def show(self, name: str) -> ReleaseView:
        """What is in force for a model. Raises NotFoundError for one that is not loaded."""
        model = await self._loaded(name)
        differs = ""
        try:
            entry = await self._on_disk(model.name)
        except OSError as error:
            differs = f"the model repository cannot be read: {error.strerror}"
        else:
            path = entry.path if entry is not None else None
            differs = await asyncio.to_thread(
                _unread, model.name, path, self._directory, model.released.found
            )
        return _view(name, model, differs)

    async def change(self, name: str, document: object, who: str) -> ReleaseView:
        """Change the release of a model, as `changed_release` does; what it says is in force when this returns, and
        kept. `who`: for the log.

        Raises NotFoundError for a model or a version that is not loaded, InvalidArgumentError for a release that cannot
        be, UnavailableError for a version that does not answer for now, or if it cannot be kept: then all is as it was.
        """
        # It makes no room for others meanwhile.
        leases = [each.lease() for each in (await self._loaded(name)).ready]
        # Whoever leaves meanwhile must not leave a file that says something else than what is in force.
        change = asyncio.get_running_loop().create_task(self._change(name, document, who))
        self._changes.add(change)
        change.add_done_callback(partial(self._done, leases))
        return await asyncio.shield(change)

    def _done(self, leases: Sequence[Lease], change: "asyncio.Task[ReleaseView]") -> None:
        self._changes.discard(change)
        for lease in leases:
            lease.release()
        unheard(change)

    async def _change(self, name: str, document: object, who: str) -> ReleaseView:
        async with self._turn:
            model = await self._loaded(name)
            try:
                entry = await self._on_disk(model.name)
            except OSError as error:
                raise UnavailableError(
                    f"the release of model '{name}' stays as it is: the model repository cannot be read: "
                    f"{error.strerror}"
                ) from error
            before = model.released.release
            after = changed_release(before, document)
            loaded = {each.version: each for each in model.ready}
            on_disk = entry.versions if entry is not None else ()
            passing = model.uploaded.difference(on_disk) if entry is not None else ()
            check_release(name, after, before, loaded, on_disk, passing)
            text = json.dumps(release_json(after), indent=2) + "\n"
            path = entry.path if entry is not None else None
            kept = model.name, path, self._directory
            replaced = await asyncio.to_thread(_replaced, *kept, model.released.found)
            await asyncio.to_thread(write_release, *kept, text)
            if replaced:
                logger.warning("release: model '%s': %s", model.name, replaced)
            model.released.change(Found(after, RELEASE_FILE), who)
            self._changed(model.name)
            return _view(name, model, replaced)

    async def _loaded(self, name: str) -> Released:
        model = self._find(name)
        if model is not None and model.ready:
            return model
        known = model is not None
        with suppress(OSError):
            known = known or await self._on_disk(name) is not None
        raise NotFoundError(
            f"Request for unknown model: '{name}' has no version that is ready, so there is nothing to release: load it"
            if known
            else f"Request for unknown model: '{name}' is not in the repository"
        )


def _view(name: str, model: Released, of_file: str) -> ReleaseView:
    """`of_file`: what is the matter with its file."""
    served, found = answering(model.served), model.released.found
    problems = list(without_effect(served, found.release)) if served is not None else []
    ready = sorted(map(int, served.versions)) if served is not None else []
    return ReleaseView(name, found, ready, [*problems, *([of_file] if of_file else [])])


def _unread(name: str, path: Path | None, directory: Path | None, found: Found) -> str:
    """How the file of a release is not what is in force, for who looks at it; "" if it is. Blocks."""
    what_next = "a load takes that over, and a change of the release replaces it"
    try:
        kept = kept_release(name, path, directory)
    except InvalidArgumentError as error:
        return f"{error.message}: what it said before is in force until a load finds it mended, or a change replaces it"
    if kept is None:
        return f"{RELEASE_FILE} is gone: {what_next}" if found.source == RELEASE_FILE else ""
    if kept == found.release:
        return ""
    return f"{RELEASE_FILE} says something else by now: {what_next}"


def _replaced(name: str, path: Path | None, directory: Path | None, found: Found) -> str:
    """What is lost with the file that a change replaces, for who changes it; "" for nothing. Blocks."""
    try:
        kept = kept_release(name, path, directory)
    except InvalidArgumentError as error:
        return f"{RELEASE_FILE} was wrong, and was replaced: {error.message}"
    if kept is None or kept == found.release:
        return ""
    return (
        f"{RELEASE_FILE} had been changed since it was read, and was replaced: it said {release_text(kept)}"
    )
