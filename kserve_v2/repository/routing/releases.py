"""Changing releases while the server runs: one change of a model after the other, each kept in its file first."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from kserve_v2.config.release import changed_release, release_json
from kserve_v2.errors import NotFoundError, UnavailableError
from kserve_v2.repository.models.loaded import Lease, LoadedModel
from kserve_v2.repository.reading.scan import RELEASE_FILE, ModelEntry
from kserve_v2.repository.routing.routes import check_release
from kserve_v2.repository.routing.state import ReleaseState
from kserve_v2.repository.routing.store import Found, write_release
from kserve_v2.scheduling.failures import unheard


class Released(Protocol):
    """One model, and its release."""

    name: str
    released: ReleaseState

    @property
    def ready(self) -> list[LoadedModel]:
        """Its versions that are loaded."""
        ...


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """What a client is told. `source`: see `Found`. `ready`: the versions that are loaded, ascending."""

    name: str
    found: Found
    ready: Sequence[int]


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

    def show(self, name: str) -> ReleaseView:
        """What is in force for a model. Raises NotFoundError for one that is not loaded."""
        return _view(name, self._loaded(name))

    async def change(self, name: str, document: object, who: str) -> ReleaseView:
        """Change the release of a model, as `changed_release` does; what it says is in force when this returns, and
        kept. `who`: for the log.

        Raises NotFoundError for a model or a version that is not loaded, InvalidArgumentError for a release that cannot
        be, UnavailableError if it cannot be kept: then all is as it was.
        """
        # It makes no room for others meanwhile.
        leases = [each.lease() for each in self._loaded(name).ready]
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
            model = self._loaded(name)
            try:
                entry = await self._on_disk(model.name)
            except OSError as error:
                raise UnavailableError(
                    f"the release of model '{name}' stays as it is: the model repository cannot be read: "
                    f"{error.strerror}"
                ) from error
            before = model.released.release
            after = changed_release(before, document)
            ready = {each.version: each for each in model.ready}
            check_release(name, after, before, ready, entry.versions if entry is not None else ())
            text = json.dumps(release_json(after), indent=2) + "\n"
            path = entry.path if entry is not None else None
            await asyncio.to_thread(write_release, model.name, path, self._directory, text)
            model.released.change(Found(after, RELEASE_FILE), who)
            self._changed(model.name)
            return _view(name, model)

    def _loaded(self, name: str) -> Released:
        model = self._find(name)
        if model is None or not model.ready:
            raise NotFoundError(f"Request for unknown model: '{name}' has no version that is ready")
        return model


def _view(name: str, model: Released) -> ReleaseView:
    return ReleaseView(name, model.released.found, sorted(each.version for each in model.ready))
