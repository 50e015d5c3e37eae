"""The one owner of what is loaded: gives commands to the models that it manages, and publishes what has come of it."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from kserve_v2.config.release import NO_RELEASE, Release
from kserve_v2.errors import (
    InvalidArgumentError,
    NotLoadedError,
    OverloadedError,
    ServingError,
)
from kserve_v2.messages import IndexEntry
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.lifecycle.control import Controls
from kserve_v2.repository.lifecycle.index import answered_by, index_entry, with_memory
from kserve_v2.repository.lifecycle.load_request import (
    PLAIN,
    LoadRequest,
    check_files,
    check_may_upload,
)
from kserve_v2.repository.lifecycle.loader import Loader
from kserve_v2.repository.lifecycle.managed import ManagedModel
from kserve_v2.repository.lifecycle.names import Names, all_done
from kserve_v2.repository.lifecycle.replicas import NO_REPLICAS, Replicas
from kserve_v2.repository.lifecycle.states import ModelState
from kserve_v2.repository.model_map import ModelMap
from kserve_v2.repository.models.ensembles import Ensembles
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.reading.namespaces import check_key, name_in
from kserve_v2.repository.reading.scan import ModelEntry, Snapshot
from kserve_v2.repository.residency.residency import Residency
from kserve_v2.repository.routing.naming import released
from kserve_v2.repository.routing.releases import Releases
from kserve_v2.repository.routing.routes import to_come
from kserve_v2.repository.routing.served import answering, without_latest
from kserve_v2.repository.sources.on_demand import OnDemand
from kserve_v2.scheduling.calling.calls import Calls
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.slices import Slices, at_once

logger = logging.getLogger(__name__)

# Of so many, what the index tells is found in a slice.
_SLICE_MODELS = 64


class ModelManager(ModelMap):
    """Loads and unloads models. Lives on the server's event loop; whatever blocks runs on threads of its `Loader`."""

    def __init__(
        self,
        options: RepositoryOptions,
        registry: BackendRegistry,
        load_threads: int = 4,
        shared: Shared | None = None,
        replicas: Replicas = NO_REPLICAS,
    ) -> None:
        """`shared`: what the models have in common; nothing by default. `replicas`: the copies of them that other
        processes have.
        """
        shared = shared or Shared()
        wait_s = options.on_demand_wait_s
        super().__init__(shared.inflight, on_demand=wait_s is not None)
        self.replicas = replicas
        self.inflight = shared.inflight
        self.metrics = shared.metrics
        self._changes = shared.changes
        self._calls = Calls(self)
        self._ensembles = Ensembles(self, shared)
        self.explicit = options.explicit
        self.takes_files = options.uploads is not None
        """Whether a load may bring the model's files along."""
        self.polling = options.polling
        self.exiting = False
        """Whether nothing is to be loaded any more because a model asks for it."""
        self.residency = Residency(self, options.memory)
        self._loader = Loader(
            options,
            registry,
            load_threads,
            shared,
            self._calls,
            self._ensembles,
            Controls(self),
            self.residency,
            replicas,
        )
        self._loader.in_use.look = self._directories
        # Those that were not loaded only because they are part of an ensemble.
        self._asked_for: set[str] = set()
        self._unready: set[str] = set()
        # The releases by which models have answered last.
        self._in_force: dict[str, Release] = {}
        published = (self._serving, self._loaded)
        self._names = Names(
            options.namespaces, self._models, self.is_wanted, published, self._loader, self._ensembles
        )
        self.release_calls: dict[str, int] = {}
        """How often calls have changed the release of each model, if they have."""
        self._searches: set[asyncio.Task[None]] = set()
        self.releases = Releases(options.release_directory, self._names.one, self.find, self._release_changed)
        if wait_s is None and self.residency.limited:
            # Only those are; and who asks for one is told to come back.
            wait_s = 0
        self._on_demand = OnDemand(self, self.residency, wait_s) if wait_s is not None else None
        self.started = False
        """Whether the models are loaded that the server starts with: a load that is refused later, of a model that was
        never served, makes the server no less ready.
        """
        self.required: frozenset[str] | None = None
        """The models without which the server is not ready, as long as they are wanted; None: all that are wanted."""
        self.changed = asyncio.Event()
        """Set, and replaced by a new one, whenever something of what `index` and `all_ready` tell has
        changed.
        """

    def __repr__(self) -> str:
        return f"<ModelManager {list(self._models.values())}>"

    def all_ready(self) -> bool:
        """Whether every model that should be served is: nothing loading, unloading or failed, unless what it is to
        succeed serves.
        """
        if self.required is None:
            return not self._unready
        missing = (self._models.get(name) for name in self._unready if self.required & {name, name_in(name)})
        return not any(model is not None and model.wanted for model in missing)

    async def index(self) -> list[IndexEntry]:
        """Every model of the repository and every one that is or was loaded, by name and version."""
        return at_once(self.index_of(await self.scan()))

    def index_of(self, snapshot: Snapshot) -> Slices[list[IndexEntry]]:
        """As `index`, with what was found on disk."""
        entries: list[IndexEntry] = []
        for number, name in enumerate(sorted({*snapshot.models, *self._models}), 1):
            if number % _SLICE_MODELS == 0:
                yield
            found, model = snapshot.models.get(name), self._models.get(name)
            if found is None and model is None:
                # It has gone since the first slice.
                continue
            problem = (found.problem if found else None) or ""
            shown = model.entries(problem) if model else [index_entry(name, problem)]
            shown = self._released(model, shown) if model else shown
            if model and self.residency.limited:
                shown = with_memory(shown, model.served)
            entries += [answered_by(each, self.asked(name, "")) for each in shown]
        return self._names.shortened(entries)

    def entries(self, name: str) -> list[IndexEntry]:
        """As `index`, of one model that is or was loaded, without a look at the disk; none of any other."""
        model = self._names.model(name)
        if model is None:
            return []
        return self._released(model, model.entries(""))

    @staticmethod
    def _released(model: ManagedModel, entries: list[IndexEntry]) -> list[IndexEntry]:
        release = model.released.release
        return released(entries, release, answering(model.served)) if release else entries

    # --- on demand
    # ----------------------------------------------------------------------------------------------------

    async def demand(self, name: str, callers: Collection[str] = ()) -> None:
        """Have a model loaded that `acquire` has not found loaded; returns when it is. See `Caller.demand` and
        `OnDemand.demand`.
        """
        if self._on_demand is None:
            raise NotLoadedError(name)
        with self.aside(callers):
            await self._on_demand.demand(name)

    def aside(self, names: Collection[str]) -> AbstractContextManager[None]:
        """While models wait until another one is loaded; see `InProcessLoads.aside`."""
        return self.residency.loads.aside(names)

    async def find(self, name: str) -> ModelEntry | None:
        """A model as it is on disk now; None if no repository has it, or the name is no model's."""
        try:
            found = await self._loader.find(name)
        except InvalidArgumentError:
            return None
        return self._names.only(name, found)

    # --- other processes
    # ------------------------------------------------------------------------------------------------------

    async def in_force(self) -> None:
        """Wait until all processes go by what has been changed."""
        await self.replicas.acknowledged()

    async def count(self) -> None:
        """Have everything counted that other processes have counted by now."""
        await self.replicas.count()

    # --- memory
    # ---------------------------------------------------------------------------------------------------------------

    def residents(self) -> Mapping[str, bool]:
        """The models that are loaded, and whether each must stay; see `residency.Models`."""
        users = self._ensembles.users()
        return {
            name: not all(self._models[each].evictable for each in (name, *users.get(name, ())))
            for name, model in self._models.items()
            if model.ready
        }

    def lasting(self) -> Collection[str]:
        """See `residency.Models`."""
        stay = {name for name, model in self._models.items() if model.stays}
        users = self._ensembles.users()
        return {name for name in self._models if stay & {name, *users.get(name, ())}}

    def users(self) -> Mapping[str, Sequence[LoadedModel]]:
        """See `residency.Models`."""
        return {
            name: [model for each in ensembles for model in self._models[each].ready]
            for name, ensembles in self._ensembles.users().items()
        }

    def evict(self, name: str) -> None:
        """Unload a model, to be loaded again when it is asked for; first the ensembles that cannot be without it."""
        for each in (*self._ensembles.users().get(name, ()), name):
            if each != name:
                logger.info("evicting: %s, which needs %s", each, name)
            self._evicted.add(each)
            self._models[each].evict()

    # --- loading and unloading
    # ----------------------------------------------------------------------------------------

    async def scan(self, *, strict: bool = False) -> Snapshot:
        """What is in the repositories now. Models that come from elsewhere, and are not here yet, have no versions.
        Raises OSError if a folder cannot be read and, with `strict`, ServingError if it cannot be said what there is
        elsewhere.
        """
        return await self._loader.scan(strict=strict)

    async def refresh(self, *, only_loaded: bool = False) -> None:
        """Bring models to this machine as they are now, from wherever they come: all, or those that are loaded."""
        names = [name for name in self._models if self.is_wanted(name)] if only_loaded else None
        await self._loader.refresh(names)

    async def load(self, name: str, request: LoadRequest = PLAIN) -> None:
        """Load a model as it is on disk now, or do nothing if that is what is served.

        Returns when every version that its policy selects is ready. What served before goes on serving until
        then, and for good if this fails. A configuration of the `request` is in force until the unload, once it
        has been loaded.

        Files of the `request` are served in place of the directory, until the next load or the unload; a plain load
        then goes back to the directory.

        Raises NotFoundError for an unknown directory, UnavailableError if the model is unloaded meanwhile,
        UnsupportedError for files where they are not allowed, InvalidArgumentError with the reasons otherwise.
        """
        check_key(self._names.spaces, name)
        check_may_upload(request.files, allowed=self.takes_files)
        check_files(name_in(name), request)
        if not self._names.spaces:
            self._asked_for.add(name)
            await self._load(name, request)
            return
        keys = await self._names.on_disk(name, alone=request != PLAIN)
        self._asked_for.update(keys)
        try:
            await all_done(self._load(key, request) for key in keys)
        finally:
            await self._find_steps_again(name)

    async def load_step(self, name: str) -> None:
        """Load a model because an ensemble needs it."""
        await self._load(name, PLAIN)

    async def names(self) -> Collection[str]:
        """What the models are called that the repositories have, as far as these can be read, or that are known."""
        found: Collection[str] = ()
        with suppress(OSError):
            found = (await self._loader.scan()).models
        return {name_in(name) for name in (*found, *self._models)}

    async def _load(self, name: str, request: LoadRequest) -> None:
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = ManagedModel(
                name, self._loader, self._update, expected=not self.started
            )
            self._names.add(name)
        try:
            await model.load(request)
        except OverloadedError:
            if self._on_demand is not None and name not in self._loaded:
                self._evicted.add(name)
            raise
        await self.in_force()
        if self._on_demand is not None:
            self._on_demand.loaded({name, name_in(name)})

    def is_wanted(self, name: str) -> bool:
        """Whether a model is loaded, or is to be."""
        model = self._models.get(name)
        return name in self._evicted or (model is not None and model.wanted)

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Serve a model no longer. Returns at once; requests that are under way are finished first.

        `dependents`: of an ensemble, the models of its steps as well, but for those that were asked for themselves, and
        those that are part of another ensemble.
        """
        for key in self._names.unloaded(name):
            self._unload(key, dependents=dependents)
            if self._on_demand is not None:
                self._on_demand.unloaded({key, name_in(key)})
        if self._names.spaces:
            task = asyncio.get_running_loop().create_task(self._find_steps_again(name))
            self._searches.add(task)
            task.add_done_callback(self._searches.discard)

    async def _find_steps_again(self, name: str) -> None:
        """Load the ensembles again whose steps of that name mean another model than before."""
        for ensemble in await self._names.with_other_steps(name):
            if self.is_wanted(ensemble):
                with suppress(ServingError):  # the log has been told
                    await self._load(ensemble, PLAIN)

    def _unload(self, name: str, *, dependents: bool) -> None:
        self._asked_for.discard(name)
        self._evicted.discard(name)
        steps = self._ensembles.forget(name)
        if name in self._models:
            self._models[name].unload()
        for step in sorted(steps) if dependents else ():
            if step not in self._asked_for and not self._ensembles.needed(step):
                self._unload(step, dependents=True)

    def _update(self, model: ManagedModel) -> None:
        """Take over what has changed of one model."""
        name, before = model.name, self._loaded.get(model.name)
        release = model.released.release
        other_rule = self._in_force.get(name, NO_RELEASE) != release
        self._in_force[name] = release
        served = None if self._is_held_back(model) else model.served
        answers = self.routes.publish(name, answering(served), release, settled=not model.busy)
        if to_come(served, release, model.awaited):
            served, answers = without_latest(served), without_latest(answers)
        # Requests that a release may give to any of several versions are counted where they come together.
        self.replicas.publish(name, None if release or name in self._stand_ins else answers)
        if served is None or answers is None:
            self._serving.pop(name, None)
            self._loaded.pop(name, None)
        else:
            self._serving[name], self._loaded[name] = answers, served
            self._evicted.discard(name)
        if model.fulfilled:
            self._unready.discard(name)
        else:
            self._unready.add(name)
        if model.forgettable:
            self._models.pop(name, None)
            self._names.remove(name)
            self._asked_for.discard(name)
            self.routes.forget(name)
            self._in_force.pop(name, None)
        self._names.publish(name)
        self._publish_stand_ins(name)
        self.announce_change()
        # Whether by a call or by a file that a load has read: a label or a split may mean another version now.
        if other_rule or before != served:
            self._changes.count += 1
            self._ensembles.changed(name)

    def _is_held_back(self, model: ManagedModel) -> bool:
        """Whether the versions of a model that is loaded because it was asked for are not all there yet. Otherwise an
        older one, which loads faster, would answer requests that were for the newest one before, and are afterwards.
        """
        name = model.name
        return model.begins and name not in self._loaded and (self._all_on_demand or name in self._evicted)

    def _directories(self) -> frozenset[Path]:
        """Those of models that are loaded, or about to be. On any thread."""
        return frozenset(path for model in list(self._models.values()) for path in model.directories)

    def _release_changed(self, name: str) -> None:
        """Have the release of a model that is in force now be that by which requests are answered."""
        self.release_calls[name] = self.release_calls.get(name, 0) + 1
        model = self._models.get(name)
        if model is not None:
            self._update(model)

    def set_stand_in(self, name: str, other: str) -> None:
        """Have requests to a name that name no version answered by another model from now on, whether there is one of
        that name or not; by its own again if `other` is that name, or "". Not for servers with namespaces.
        """
        if self._stand_ins.get(name, name) == (other or name):
            return
        if other in ("", name):
            del self._stand_ins[name]
        else:
            self._stand_ins[name] = other
        self._serving.pop(name, None)
        if (model := self._models.get(name)) is not None:
            self._update(model)
        else:
            self._publish_stand_ins(name)
            self.announce_change()

    def announce_change(self) -> None:
        """Wake those who wait for `changed`."""
        self.changed.set()
        self.changed = asyncio.Event()

    # --- the end
    # ------------------------------------------------------------------------------------------------------

    def exit(self) -> None:
        """Nothing is to be loaded any more because a model, or a request, asks for it."""
        self.exiting = True
        if self._on_demand is not None:
            self._on_demand.exit()
        self.routes.exit()
        self.announce_change()

    async def drain(self) -> None:
        """Wait until no model has a request or a load under way."""
        await asyncio.gather(self.replicas.withdraw(), *(model.drain() for model in self._models.values()))

    @property
    def silent_sequences(self) -> int | None:
        """How many sequences are all that `drain` waits for, which nobody has asked anything; None if it is more."""
        counts = [model.silent_sequences for model in self._models.values()]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def only_copies_left(self) -> bool:
        """Whether all that is not closed yet may be because of copies for shadows, which nobody waits for."""
        records = [each for model in self._models.values() for each in model.records]
        if any(each.state is ModelState.LOADING for each in records):
            return False
        left = {each.model for each in records} - {None}
        return bool(left) and left <= self.routes.executes_copies

    def abandon(self) -> None:
        """The time to wait is up: fail what still waits, models that wait for each other's answers among it."""
        self._calls.abandon()
        self._loader.abandon()
        for model in self._models.values():
            model.abandon()

    async def stop(self) -> None:
        """Unload everything: requests that wait are failed, those that run are awaited."""
        self.abandon()
        await asyncio.gather(*[model.stop() for model in list(self._models.values())])
        self._loader.shutdown()
