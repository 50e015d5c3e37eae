"""Whatever blocks when models are loaded and unloaded. Each kind has threads of its own: reading a directory never
waits for a load, and neither waits for a model that hangs while it is closed.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from kserve_v2.backend import Handover, ModelConfig
from kserve_v2.errors import InvalidArgumentError, OverloadedError
from kserve_v2.handlers.modules import OWN_MODULES
from kserve_v2.isolation.backend import IsolatedBackend
from kserve_v2.memory.tidying import Tidying
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.lifecycle.cleaning import Cleaning
from kserve_v2.repository.lifecycle.control import Controls
from kserve_v2.repository.lifecycle.load_log import reason_text
from kserve_v2.repository.lifecycle.replicas import Replicas
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.models.ensembles import Ensembles
from kserve_v2.repository.models.executed import ExecutedModel
from kserve_v2.repository.models.homes import ModelHome
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.models.regrouping import regroup
from kserve_v2.repository.models.spec import Prepared, placements
from kserve_v2.repository.preparing.candidate import Candidate, Override, read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import prepare_version
from kserve_v2.repository.reading.namespaces import find_models, name_in, scan_namespaces
from kserve_v2.repository.reading.scan import (
    ModelEntry,
    Snapshot,
    absent_entry,
    scan,
    scan_model,
    with_absent,
)
from kserve_v2.repository.residency.growth import LoadWatch
from kserve_v2.repository.residency.residency import Claim, Residency
from kserve_v2.repository.routing.store import remove_strays
from kserve_v2.repository.uploads.store import UploadedFolder
from kserve_v2.scheduling.calling.calls import Calls
from kserve_v2.scheduling.calling.no_other_models import NoOtherModels
from kserve_v2.scheduling.calling.thread_caller import ThreadCaller
from kserve_v2.scheduling.calling.waits import ModelVersion
from kserve_v2.scheduling.contained import call_on_thread
from kserve_v2.scheduling.shared import Shared


class InUse:
    """The directories of models that are loaded, or about to be: they stay where they are. As they are whenever they
    are asked for, on any thread: what fetches for minutes must not go by what was loaded when it began.
    """

    def __init__(self) -> None:
        self.look: Callable[[], Collection[Path]] = tuple

    def __iter__(self) -> Iterator[Path]:
        return iter(self.look())


class Loader:
    """Reads directories, loads models and closes them. Used on the server's event loop alone."""

    def __init__(
        self,
        options: RepositoryOptions,
        registry: BackendRegistry,
        load_threads: int,
        shared: Shared,
        calls: Calls,
        ensembles: Ensembles,
        controls: Controls,
        residency: Residency,
        replicas: Replicas,
    ) -> None:
        """`shared`: what all models have in common. `calls`: those that models make to each other. `ensembles`: who
        loads the models that are made of others. `controls`: who loads models for models. `residency`: what is in
        memory. `replicas`: the copies that other processes have.
        """
        self.drain_limit_s = options.drain_limit_s
        """How long what is under way in a version that is served no longer may take; 0 for any time."""
        self.tries_again = options.polling
        """Whether what has failed is loaded once more by itself."""
        self._controls = controls
        self.residency = residency
        self.replicas = replicas
        self._shared = shared
        self._calls = calls
        self._ensembles = ensembles
        self._options = options
        self._registry = registry
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="model-directory")
        self._uploader = ThreadPoolExecutor(1, thread_name_prefix="model-upload")
        self._loaders = ThreadPoolExecutor(load_threads, thread_name_prefix="model-load")
        self._bringers = ThreadPoolExecutor(load_threads, thread_name_prefix="model-location")
        # Who only looks waits for nothing that is being brought.
        self._lookers = ThreadPoolExecutor(2, thread_name_prefix="model-names")
        self.in_use = InUse()
        self.tidying = Tidying(OWN_MODULES)
        self.cleaning = Cleaning(options.locations, self._bringers, self.in_use)

    async def scan(self, *, strict: bool = False) -> Snapshot:
        """All models of all repositories; see `scan.scan` and `scan_namespaces`. Those that could be brought to this
        machine, and were not yet, are in it without versions. `strict`: raise ServingError if it cannot be
        said which they are.
        """
        loop = asyncio.get_running_loop()
        if self._options.namespaces:
            return await loop.run_in_executor(self._reader, scan_namespaces, self._options.namespaces)
        locations = self._options.locations
        names: list[str] = []
        if locations is not None:
            look = locations.names if strict else locations.names_seen
            names = await loop.run_in_executor(self._lookers, look)
        snapshot = await loop.run_in_executor(self._reader, scan, self._options.folders)
        problems = {name: locations.problem(name) for name in names} if locations is not None else {}
        return with_absent(snapshot, problems)

    async def refresh(self, names: Collection[str] | None) -> None:
        """Bring models to this machine as they are now, from wherever they come: all of them, or some. What cannot be
        reached is as before, and the log says so. To be done before a scan that is to see what has changed.
        """
        if self._options.locations is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._bringers, self._options.locations.refresh, self.in_use, names)
            self.cleaning.later()

    def outdated(self, name: str) -> str:
        """Why a model from elsewhere is not here as it is there now, as the index shows it; "" for nothing."""
        locations = self._options.locations
        error = locations.outdated(name) if locations is not None else None
        return reason_text(error) if error is not None else ""

    async def find(self, name: str) -> list[ModelEntry]:
        """The models of a name as they are on disk now; see `scan.scan_model` and `find_models`. One that was not
        brought here yet has no versions.
        """
        loop = asyncio.get_running_loop()
        if self._options.namespaces:
            return await loop.run_in_executor(self._reader, find_models, self._options.namespaces, name)
        entry = await loop.run_in_executor(self._reader, scan_model, self._options.folders, name)
        locations = self._options.locations
        if entry is None and locations is not None:
            names = await loop.run_in_executor(self._lookers, locations.names_seen)
            entry = absent_entry(name, locations.problem(name)) if name in names else None
        return [] if entry is None else [entry]

    async def read(
        self, name: str, override: Override | None, uploaded: UploadedFolder | None = None
    ) -> Candidate:
        """One model as it is now, brought to this machine if it comes from elsewhere; see `read_candidate`."""
        loop = asyncio.get_running_loop()
        self.cleaning.later()
        if self._options.locations is not None and uploaded is None:
            await loop.run_in_executor(self._bringers, self._options.locations.materialize, name, self.in_use)
        return await loop.run_in_executor(self._reader, self._read, name, override, uploaded)

    def _read(self, name: str, override: Override | None, uploaded: UploadedFolder | None) -> Candidate:
        candidate = read_candidate(name, self._options, override, uploaded)
        remove_strays(name_in(name), candidate.entry.path, self._options.release_directory)
        return candidate

    async def upload(self, name: str, files: Mapping[str, bytes]) -> UploadedFolder:
        """Write the files of a load to a folder of their own; see `Uploads.write`."""
        uploads = self._options.uploads
        assert uploads is not None  # noqa: S101 - otherwise they are refused
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._uploader, uploads.write, name_in(name), files)

    def discard(self, folder: UploadedFolder) -> None:
        """Remove the files of a load, which nothing uses any more, in a while."""
        with suppress(RuntimeError):  # it is shut down: all of them are removed
            self._uploader.submit(folder.remove)

    async def prepare(
        self, candidate: Candidate, version: int, handover: Handover
    ) -> Prepared | PreparedEnsemble:
        """What is needed to load one version; see `prepare_version`."""
        work = partial(prepare_version, handover=handover)
        return await call_on_thread(self._loaders, work, candidate, version, self._options, self._registry)

    async def load(self, prepared: Prepared | PreparedEnsemble, *, revived: bool) -> LoadedModel:
        """Load one version; see `ExecutedModel.load` and `Ensembles.load`."""
        if isinstance(prepared, PreparedEnsemble):
            return await self._ensembles.load(prepared, revived=revived)
        self._ensembles.forget(prepared.source.name)
        source = prepared.source
        control = self._controls.of(source.name)
        if prepared.home.replicated:
            # As its copies are.
            alone = NoOtherModels(source.name)
            source = replace(source, caller=alone, control=alone)
        else:
            caller = ThreadCaller(self._calls, ModelVersion(source.name, source.version))
            source = replace(source, caller=caller, control=control)
        prepared = replace(prepared, source=source)
        try:
            loaded = await self._load(prepared)
            control.loading = False
            return loaded
        finally:
            prepared.source.handover.close()

    async def _load(self, prepared: Prepared) -> LoadedModel:
        """Load what there is room for."""
        claim = await self.residency.admit(prepared.source, self._copies(prepared.home))
        try:
            return await self._load_admitted(prepared, claim)
        except OverloadedError:
            if not claim.imported:
                raise
        # The libraries that were imported for it stay, and are not counted for it the next time.
        claim = await self.residency.admit(prepared.source, self._copies(prepared.home))
        return await self._load_admitted(prepared, claim)

    async def _load_admitted(self, prepared: Prepared, claim: Claim) -> LoadedModel:
        residency = self.residency
        try:
            loaded, watch = await self._watched(prepared, claim)
            try:
                claim.copies = self._copies(loaded.home)
                await residency.settle(claim, loaded, watch)
                if loaded.home.replicated:
                    await self.replicas.prepare(prepared, loaded)
            except BaseException:
                residency.releasing(claim)
                await loaded.close()
                raise
        except BaseException:
            residency.release(claim)
            raise
        return loaded

    async def _watched(self, prepared: Prepared, claim: Claim) -> tuple[ExecutedModel, LoadWatch | None]:
        """Load a version. Returns it, and its load, if that was in this process."""
        if isinstance(prepared.backend, IsolatedBackend):
            return await ExecutedModel.load(prepared, self._loaders, self._shared), None
        async with self.residency.watch(claim) as watch:
            loaded = await ExecutedModel.load(prepared, self._loaders, self._shared)
        return loaded, watch

    def _copies(self, home: ModelHome) -> int:
        return self._options.spread.processes if home.replicated else 1

    async def change_instances(
        self, model: LoadedModel, was: ModelConfig, written: ModelConfig
    ) -> tuple[int, int]:
        """Give a loaded version other instance groups; see `regroup` and `LoadedModel.change_instances`. What more of
        them take can only be told by making them, so with a budget that is a load, which asks for room first.
        """
        config, gpu_count = await call_on_thread(
            self._loaders, regroup, model.config, was, written, self._registry
        )
        more = len(placements(config, gpu_count)) > len(placements(model.config, gpu_count))
        if more and self.residency.limited:
            raise InvalidArgumentError("more of them take more memory, which has a budget")
        if not more:
            return await self._change_all(model, config, gpu_count)
        async with self.residency.loads.watch(model.name, asyncio.Event()) as watch:
            change = await self._change_all(model, config, gpu_count)
        self.residency.grew(model, watch.bytes or 0)
        return change

    async def _change_all(self, model: LoadedModel, config: ModelConfig, gpu_count: int) -> tuple[int, int]:
        """In this process and the others, or in none."""
        before = model.config
        change = await model.change_instances(config, gpu_count)
        try:
            await self.replicas.change_instances(model, config)
        except BaseException:
            await model.change_instances(before, gpu_count)
            raise
        return change

    def abandon(self) -> None:
        """The time is up: bring nothing more to this machine."""
        if self._options.locations is not None:
            self._options.locations.stop()

    def shutdown(self) -> None:
        """Begin nothing more. What hangs on a thread is not waited for."""
        self.residency.stop()
        self.tidying.stop()
        self.cleaning.stop()
        for executor in (self._reader, self._uploader, self._loaders, self._bringers, self._lookers):
            executor.shutdown(wait=False, cancel_futures=True)
        if self._options.locations is not None:
            self._options.locations.close()
