"""The one owner of what is loaded: acts on plans, keeps the records, and publishes the map that requests look
models up in.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError, UnavailableError, describe
from kserve_v2.messages import IndexEntry
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.lifecycle import Event, ModelState, advance
from kserve_v2.repository.model import LoadedModel, Prepared
from kserve_v2.repository.plan import Actual, Load, Unload, plan
from kserve_v2.repository.prepare import Candidate, RepositoryOptions, prepare_version, read_candidate
from kserve_v2.repository.scan import check_model_name, scan

logger = logging.getLogger(__name__)

UNLOADED = "unloaded"


@dataclass(slots=True, eq=False)
class Record:
    """One generation of one version of a model."""

    name: str
    version: int
    generation: int
    state: ModelState = ModelState.LOADING
    reason: str = ""
    model: LoadedModel | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def apply(self, event: Event, reason: str = "") -> None:
        """Move to the state after `event`."""
        self.state = advance(self.state, event)
        self.reason = reason
        if self.state in (ModelState.READY, ModelState.UNAVAILABLE):
            self.settled.set()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be served of one model: version → generation, as it was found under `candidate`.

    `config_override`: the JSON that a client sent in place of the model's configuration file; in force until
    the unload.
    """

    candidate: Candidate
    generations: Mapping[int, int]
    config_override: str | None


@dataclass(frozen=True, slots=True)
class Served:
    """The versions of one model that answer requests, by version text, and the highest of them."""

    versions: Mapping[str, LoadedModel]
    latest: LoadedModel


class ModelManager:
    """Loads and unloads models. Lives on the server's event loop; whatever blocks runs on its thread pool."""

    def __init__(self, options: RepositoryOptions, registry: BackendRegistry, load_threads: int = 4) -> None:
        self._options = options
        self._registry = registry
        self._executor = ThreadPoolExecutor(load_threads, thread_name_prefix="model-load")
        self._wanted: dict[str, Wanted] = {}
        self._records: dict[str, list[Record]] = {}
        # Why the last attempt to load a model failed before it came to single versions.
        self._problems: dict[str, str] = {}
        # One load of a model at a time. A lock goes when nobody holds it: clients make up names without end.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._generation = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: Mapping[str, Served] = MappingProxyType({})
        self.changed = asyncio.Event()
        """Set, and replaced by a new one, whenever something of what `index` and `all_ready` tell has
        changed.
        """

    def __repr__(self) -> str:
        states = {
            f"{record.name}/{record.version}": str(record.state)
            for records in self._records.values()
            for record in records
        }
        return f"<ModelManager {states}>"

    # --- what requests need
    # -------------------------------------------------------------------------------------------

    def acquire(self, name: str, version: str = "") -> LoadedModel:
        """The model version that answers; "" asks for the highest that is ready.

        Valid until the caller gives way to the event loop: a request that reaches the scheduler before that
        is always answered. Raises NotFoundError, UnavailableError, or InvalidArgumentError for a malformed
        version.
        """
        served = self._serving.get(name)
        if served is not None:
            model = served.latest if not version else served.versions.get(version)
            if model is not None:
                return model
        return self._acquire_unusual(name, version, served)

    def _acquire_unusual(self, name: str, version: str, served: Served | None) -> LoadedModel:
        number = parse_version(version) if version else None
        model = served.versions.get(str(number)) if served else None
        if model is not None:
            return model
        records = self._records.get(name)
        if not records:
            raise NotFoundError(f"Request for unknown model: '{name}' is not found")
        if number is None:
            raise NotFoundError(f"Request for unknown model: '{name}' has no available versions")
        if all(record.version != number for record in records):
            raise NotFoundError(f"Request for unknown model: '{name}' version {number} is not found")
        raise UnavailableError(f"Request for unknown model: '{name}' version {number} is not at ready state")

    def ready_versions(self, name: str) -> Sequence[LoadedModel]:
        """The versions of a model that answer requests, ascending; empty if there is none."""
        served = self._serving.get(name)
        return sorted(served.versions.values(), key=lambda model: model.version) if served else []

    def ready_models(self) -> list[LoadedModel]:
        """All versions that answer requests, by name and version."""
        return [model for name in sorted(self._serving) for model in self.ready_versions(name)]

    def all_ready(self) -> bool:
        """Whether every version that should be served is: nothing loading, unloading or failed, unless an
        older generation serves.
        """
        if any(not self._serving.get(name) for name in self._problems):
            return False
        for records in self._records.values():
            ready = {record.version for record in records if record.state is ModelState.READY}
            if any(record.version not in ready and record.reason != UNLOADED for record in records):
                return False
        return True

    async def index(self) -> list[IndexEntry]:
        """Every model of the repository and every one that is or was loaded, by name and version."""
        loop = asyncio.get_running_loop()
        snapshot = await loop.run_in_executor(self._executor, scan, self._options.roots)
        problems = {name: entry.problem for name, entry in snapshot.models.items() if entry.problem}
        problems |= self._problems
        names = sorted({*snapshot.models, *self._records, *self._problems})
        return [entry for name in names for entry in self._index_of(name, problems.get(name, ""))]

    def _index_of(self, name: str, problem: str) -> list[IndexEntry]:
        newest = {record.version: record for record in self._records.get(name, [])}
        serving = self._serving.get(name)
        entries = []
        for version in sorted(newest):
            record = newest[version]
            answers = serving is not None and str(version) in serving.versions
            state = ModelState.READY if answers else record.state
            reason = record.reason or (problem if answers else "")
            entries.append(IndexEntry(name, str(version), state, reason))
        if problem and not serving:
            return [IndexEntry(name, "", ModelState.UNAVAILABLE, problem)]
        return entries or [IndexEntry(name)]

    # --- loading and unloading
    # ----------------------------------------------------------------------------------------

    async def names(self) -> list[str]:
        """Names of all models in the repository."""
        loop = asyncio.get_running_loop()
        snapshot = await loop.run_in_executor(self._executor, scan, self._options.roots)
        return sorted(snapshot.models)

    async def load(self, name: str, config_override: str | None = None) -> None:
        """Load a model as it is on disk now, or do nothing if that is what is served.

        Returns when every version that its policy selects is ready. What served before goes on serving until
        then, and for good if this fails. Raises NotFoundError for an unknown directory, InvalidArgumentError
        with the reasons otherwise.
        """
        check_model_name(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            try:
                wanted = await self._want(name, config_override)
            except NotFoundError:
                raise
            except ServingError as error:
                self._problems[name] = reason_text(error)
                self.announce_change()
                logger.error("model '%s' cannot be loaded: %s", name, error.message)  # noqa: TRY400 - no defect
                raise InvalidArgumentError(f"load failed for model '{name}': {error.message}\n") from error
            self._problems.pop(name, None)
            self._wanted[name] = wanted
            self._reconcile(name)
            await self._await_loads(name, wanted)

    async def _want(self, name: str, config_override: str | None) -> Wanted:
        """Read the model's directory, and give each version its generation: a new one where something has
        changed.
        """
        loop = asyncio.get_running_loop()
        current = self._wanted.get(name)
        if config_override is None and current is not None:
            config_override = current.config_override
        candidate = await loop.run_in_executor(
            self._executor, read_candidate, name, self._options, config_override
        )
        unchanged = current is not None and current.candidate.fingerprint == candidate.fingerprint
        self._generation += 1
        generations = {
            version: current.generations[version]
            if unchanged and current and self._is_ready(name, version, current.generations[version])
            else self._generation
            for version in candidate.versions
        }
        return Wanted(candidate, generations, config_override)

    def _is_ready(self, name: str, version: int, generation: int) -> bool:
        record = self._find(name, version, generation)
        return record is not None and record.state is ModelState.READY

    def _find(self, name: str, version: int, generation: int) -> Record | None:
        for record in self._records.get(name, []):
            if (record.version, record.generation) == (version, generation):
                return record
        return None

    async def _await_loads(self, name: str, wanted: Wanted) -> None:
        records = [
            self._find(name, version, generation) for version, generation in wanted.generations.items()
        ]
        failed = []
        for record in filter(None, records):
            await record.settled.wait()
            if record.state is ModelState.UNAVAILABLE and record.reason != UNLOADED:
                failed.append(f"version {record.version} is at UNAVAILABLE state: {record.reason};\n")
        if failed:
            raise InvalidArgumentError(f"load failed for model '{name}': {''.join(failed)}")

    def unload(self, name: str) -> None:
        """Serve a model no longer. Returns at once; requests that are under way are finished first."""
        self._wanted.pop(name, None)
        self._problems.pop(name, None)
        if name not in self._records:
            self.announce_change()
            return
        for record in self._records[name]:
            if record.state is ModelState.UNAVAILABLE:
                record.reason = UNLOADED
        self._reconcile(name)

    def _reconcile(self, name: str) -> None:
        """Plan and act for one model until there is nothing more to do now."""
        wanted = self._wanted.get(name)
        records = self._records.setdefault(name, [])
        actual = [Actual(record.version, record.generation, record.state) for record in records]
        for action in plan(wanted.generations if wanted else {}, actual):
            match action:
                case Load(version, generation) if wanted:
                    record = Record(name, version, generation)
                    records.append(record)
                    self._spawn(self._load(record, wanted.candidate))
                case Unload(version, generation):
                    leaving = self._find(name, version, generation)
                    if leaving is not None:
                        leaving.apply(Event.UNLOAD)
                        self._spawn(self._unload(leaving))
        self._forget_old_records(name)
        self._publish()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, record: Record, candidate: Candidate) -> None:
        started_ns = time.monotonic_ns()
        logger.info("loading: %s version %d", record.name, record.version)
        try:
            loop = asyncio.get_running_loop()
            prepared: Prepared = await loop.run_in_executor(
                self._executor, prepare_version, candidate, record.version, self._options, self._registry
            )
            record.model = await LoadedModel.load(prepared, self._executor)
        except Exception as error:  # noqa: BLE001 - one model's failure, whatever it is, ends in its record
            record.apply(Event.FAILED, reason_text(error))
            self._log_failed_load(record, error)
        else:
            record.apply(Event.LOADED)
            self._log_load(record, prepared, started_ns)
        self._reconcile(record.name)

    @staticmethod
    def _log_failed_load(record: Record, error: Exception) -> None:
        unexpected = not isinstance(error, ServingError)
        logger.error(
            "failed to load: %s version %d: %s", record.name, record.version, record.reason,
            exc_info=error if unexpected else None,
        )  # fmt: skip

    @staticmethod
    def _log_load(record: Record, prepared: Prepared, started_ns: int) -> None:
        placements = prepared.source.placements
        logger.info(
            "ready: %s version %d in %.2f s: %d instance(s) on %s",
            record.name, record.version, (time.monotonic_ns() - started_ns) / 1e9, len(placements),
            ", ".join(sorted({placement.device for placement in placements})),
        )  # fmt: skip

    async def _unload(self, record: Record) -> None:
        model, record.model = record.model, None
        assert model is not None  # noqa: S101 - READY means that there is one
        self._publish()
        await model.scheduler.pool.drain()
        await model.close(self._executor)
        record.apply(Event.UNLOADED, UNLOADED)
        logger.info("unloaded: %s version %d", record.name, record.version)
        self._forget_old_records(record.name)
        self.announce_change()

    def _forget_old_records(self, name: str) -> None:
        """Drop what is over and has a successor: the index shows the newest record of each version."""
        records = self._records[name]
        newest = {record.version: record for record in records}
        self._records[name] = [
            record
            for record in records
            if record is newest[record.version] or record.state is not ModelState.UNAVAILABLE
        ]

    def _publish(self) -> None:
        """Make the map that requests use anew; those that hold the old one are not disturbed."""
        serving: dict[str, Served] = {}
        for name, records in self._records.items():
            # Later generations stand later in the list, and win.
            ready = {
                record.version: record.model
                for record in records
                if record.state is ModelState.READY and record.model is not None
            }
            if ready:
                versions = {str(version): model for version, model in ready.items()}
                serving[name] = Served(MappingProxyType(versions), ready[max(ready)])
        self._serving = MappingProxyType(serving)
        self.announce_change()

    def announce_change(self) -> None:
        """Wake those who wait for `changed`."""
        self.changed.set()
        self.changed = asyncio.Event()

    # --- the end
    # ------------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Wait until no model has a request under way."""
        await asyncio.gather(*(model.scheduler.pool.drain() for model in self.ready_models()))

    async def stop(self) -> None:
        """Unload everything: requests that wait are failed, those that run are awaited."""
        for name in list(self._records):
            self._wanted.pop(name, None)
            for model in self.ready_versions(name):
                model.scheduler.pool.abandon()
            self._reconcile(name)
        while self._tasks:
            await asyncio.gather(*self._tasks)
        self._executor.shutdown()


def parse_version(version: str) -> int:
    """The number of a version as clients write it. Raises InvalidArgumentError, with Triton's texts, where it is
    none.
    """
    try:
        number = int(version)
    except ValueError:
        number = 2**63
    if number < 0:
        raise InvalidArgumentError(
            f"invalid model version specified '{version}' , version should be an integral value > 0"
        )
    if number >= 2**63 or not version.isascii():
        raise InvalidArgumentError(
            f"failed to get model version from specified version string '{version}' (details: stol), "
            "version should be an integral value > 0"
        )
    return number


def reason_text(error: Exception) -> str:
    """Why a load failed, as the index shows it: Triton's `<Code>: <text>`."""
    if isinstance(error, ServingError):
        return f"{error.code.name.replace('_', ' ').capitalize()}: {error.message}"
    return f"Internal: {describe(error)}"
