"""One model of the repository: the owner of what is wanted of it and of what there is, through all its reloads."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kserve_v2.config import is_ensemble
from kserve_v2.errors import (
    DuplicateError,
    InvalidArgumentError,
    NoRoomError,
    NoRoomYetError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
    reason_of,
)
from kserve_v2.logs.sparing import Sparing
from kserve_v2.messages import IndexEntry
from kserve_v2.repository.lifecycle.draining import drain
from kserve_v2.repository.lifecycle.index import NOT_UPDATED, entries, reasons
from kserve_v2.repository.lifecycle.keeping import keep
from kserve_v2.repository.lifecycle.load_log import (
    log_failed_load,
    log_load,
    log_no_room,
    log_unloaded,
    log_unread,
    reason_text,
)
from kserve_v2.repository.lifecycle.load_request import PLAIN, LoadRequest
from kserve_v2.repository.lifecycle.loader import Loader
from kserve_v2.repository.lifecycle.plan import Actual, Load, Unload, answering_versions, fulfilled, plan
from kserve_v2.repository.lifecycle.record import EVICTED, UNLOADED, Record, served, still_shown
from kserve_v2.repository.lifecycle.states import ModelState
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.models.ensembles import StepsMissingError
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.candidate import Candidate, Override
from kserve_v2.repository.residency.eviction import total
from kserve_v2.repository.residency.residency import GivenUpError
from kserve_v2.repository.routing.state import ReleaseState
from kserve_v2.repository.uploads.store import UploadedFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be served: version → generation, as it was found under `candidate`."""

    candidate: Candidate
    generations: Mapping[int, int] = field(default_factory=dict)


class ManagedModel:
    """Takes commands, and carries them out in the order in which they came: a load takes its turn after the loads
    before it, and an unload, which is done at once, ends all loads before it.
    """

    def __init__(
        self, name: str, loader: Loader, changed: Callable[["ManagedModel"], None], *, expected: bool = True
    ) -> None:
        """`changed` is called after everything that others can see. `expected`: whether the server is not ready if the
        first load is refused; until the first unload.
        """
        self.name = name
        self.served = served(())
        """What answers requests; replaced as a whole."""
        self.problem = ""
        """Why the last load failed before it came to single versions."""
        self.released = ReleaseState(name)
        """Which versions requests are for that name none, or a label."""
        self.records: list[Record] = []
        """In the order of their generations."""
        self._loader = loader
        self._changed = changed
        self._wanted: Wanted | None = None
        # What a client sent in place of the configuration file, from the success of that load to the unload.
        self._override: Override | None = None
        # The folders of files that have come with loads, as long as something may read them.
        self._uploads: set[UploadedFolder] = set()
        self._generation = 0
        self._turn = asyncio.Lock()
        self._unloads = 0
        self._expected = expected
        self._told_of_no_room = Sparing()
        self._was_evicted = False
        self._no_room = False
        # The versions that answered when last all was as it should be.
        self._established: frozenset[int] = frozenset()
        # What was wanted when nothing answered: until all of that has been loaded, or has failed, nothing stands in for
        # what is to come.
        self._first: Mapping[int, int] = {}
        # Whether a load is under way that began when nothing answered: it may give back what it has loaded.
        self._begins = False
        # Whether it would be served if the models that it is made of were.
        self._lost = False
        self._commands: set[asyncio.Task[None]] = set()
        self._callers: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        states = {f"{each.version}.{each.generation}": str(each.state) for each in self.records}
        return f"<ManagedModel {self.name} wanted={self._generations} {states}>"

    @property
    def _generations(self) -> Mapping[int, int]:
        return self._wanted.generations if self._wanted else {}

    @property
    def wanted(self) -> bool:
        """Whether it is to be served."""
        return self._wanted is not None or bool(self.problem)

    @property
    def fulfilled(self) -> bool:
        """Whether all is as it should be, so that the server may say that it is ready."""
        if self.problem and self._wanted is None:
            return not self._expected
        if self._lost:
            # As if it were unloaded itself.
            return True
        if any(model.down for model in self.ready):
            return False
        return fulfilled(self._generations, self._actual, self._established)

    @property
    def _actual(self) -> list[Actual]:
        return [record.actual for record in self.records]

    @property
    def is_known(self) -> bool:
        """Whether there is anything to say of this model: it is or was loaded, or a load was tried."""
        return bool(self.records or self.problem)

    @property
    def forgettable(self) -> bool:
        """Whether there is nothing to know of this model: clients make up names without end."""
        return not (self.is_known or self._commands)

    def entries(self, problem: str) -> list[IndexEntry]:
        """What the repository index tells. `problem`: of the model's directory."""
        why = self.problem
        if self.served is not None:
            # No load has been tried of what has not even come here.
            why = self._loader.outdated(self.name) or why
        return entries(self.name, self.records, self.served, why, problem)

    def down(self, version: int | None = None) -> str:
        """Why a version that is loaded does not answer for now; of the highest, if none is asked for. "" if there is
        none.
        """
        model = None
        if self.served is not None:
            model = self.served.latest if version is None else self.served.versions.get(str(version))
        return model.down if model is not None else ""

    def reasons(self, version: int | None = None) -> str:
        """Why nothing answers, behind a colon: of one version, or of all; "" where nothing has failed."""
        return reasons(self.records, self.problem, version)

    def is_coming(self, version: int) -> bool:
        """Whether a version may answer soon, though nobody acts: a load is under way that may want it, or it is wanted
        and has not failed, or what has failed is tried again.
        """
        if self.busy:
            return True
        generation = self._generations.get(version)
        failed = any(
            (record.version, record.generation) == (version, generation)
            and record.state is ModelState.UNAVAILABLE
            for record in self.records
        )
        return generation is not None and (not failed or self._loader.tries_again)

    @property
    def awaited(self) -> frozenset[int]:
        """The versions that are being loaded for the first time: whatever they succeed did not answer when their load
        began, so that nobody has an older one to keep to.
        """
        return frozenset(version for version, _ in self._loading & self._first.items())

    @property
    def begins(self) -> bool:
        """Whether what nothing has answered for is being loaded, and it is open what of it is to answer."""
        return self._begins or bool(self.awaited)

    @property
    def is_loading(self) -> bool:
        """Whether anything is being loaded that is still wanted."""
        return bool(self._loading)

    @property
    def _loading(self) -> Set[tuple[int, int]]:
        loading = {
            (record.version, record.generation)
            for record in self.records
            if record.state is ModelState.LOADING
        }
        return loading & self._generations.items()

    @property
    def ready(self) -> list[LoadedModel]:
        """The versions that answer."""
        return list(self.served.versions.values()) if self.served else []

    @property
    def uploaded(self) -> frozenset[int]:
        """Those that are made from uploaded files."""
        ready = set(self.ready)
        return frozenset(
            record.version for record in self.records if record.uploaded is not None and record.model in ready
        )

    @property
    def directories(self) -> list[Path]:
        """Where its versions lie that are loaded, and those that are wanted. On any thread."""
        wanted, models = self._wanted, [record.model for record in list(self.records)]
        paths = [wanted.candidate.entry.path] if wanted is not None else []
        return paths + [model.path for model in models if model is not None]

    @property
    def busy(self) -> bool:
        """Whether somebody has asked for a load that has not ended."""
        return bool(self._commands)

    async def settled(self) -> None:
        """Wait until it is not busy."""
        await _all_done(self._commands)

    # --- commands -----------------------------------------------------------------------------------------------

    async def load(self, request: LoadRequest = PLAIN) -> None:
        """Load the model, or load it again. A caller that leaves does not end what it has asked for."""
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._callers.add(outcome)
        command = self._spawn(self._load_in_turn(request, self._unloads))
        self._commands.add(command)
        command.add_done_callback(partial(self._end_command, outcome))
        try:
            await outcome
        finally:
            self._callers.discard(outcome)

    def _end_command(self, outcome: asyncio.Future[None], command: asyncio.Task[None]) -> None:
        self._commands.discard(command)
        # Asked for in any case: an error that nobody takes is reported by asyncio.
        error = asyncio.CancelledError() if command.cancelled() else command.exception()
        if not outcome.done():
            if error is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(error)
        self._changed(self)

    async def _load_in_turn(self, request: LoadRequest, unloads: int) -> None:
        async with self._turn:
            self._check_still_wanted(unloads)
            override = self._override if request.config is None else Override(request.config)
            moment = self.released.moment
            candidate, kept = await self._find(request, override, unloads)
            anew = self.served is None
            self.released.offer(candidate.found, moment, at_once=anew)
            self.problem, self._lost = "", False
            self._wanted = self._want(candidate, kept)
            if anew:
                self._first = self._generations
            self._call_unloaded()
            self._begins = anew
            try:
                self._reconcile()
                await self._await_loads(self._wanted, unloads, anew=anew)
            finally:
                self._begins = False
            self.released.loaded()
            # Only now: one that does not work must not stand in the way of the loads that follow. That of uploaded
            # files is theirs alone: the next load goes back to the directory.
            self._override = None if request.files else candidate.override

    async def _find(
        self, request: LoadRequest, override: Override | None, unloads: int
    ) -> tuple[Candidate, Mapping[int, int]]:
        """What is to be served now, from the directory or from the files that were sent, and what is kept of what is
        served; see `keep`.
        """
        uploaded = await self._loader.upload(self.name, request.files) if request.files else None
        try:
            self._check_still_wanted(unloads)
            candidate = await self._read(override, uploaded, unloads)
            self._check_still_wanted(unloads)
            kept = await keep(self.records, candidate, self._loader)
            self._check_still_wanted(unloads)
        except BaseException:
            if uploaded is not None:
                self._loader.discard(uploaded)
            raise
        if uploaded is not None:
            self._uploads.add(uploaded)
        return candidate, kept

    def _check_still_wanted(self, unloads: int) -> None:
        if self._unloads != unloads:
            raise UnavailableError(f"load failed for model '{self.name}': it was unloaded meanwhile")

    async def _read(
        self, override: Override | None, uploaded: UploadedFolder | None, unloads: int
    ) -> Candidate:
        try:
            return await self._loader.read(self.name, override, uploaded)
        except NotFoundError:
            self._check_still_wanted(unloads)
            self._give_up_failed()
            self._changed(self)
            raise
        except Exception as error:
            self._check_still_wanted(unloads)
            self._give_up_failed()
            self.problem = reason_text(error)
            self._changed(self)
            text = reason_of(error)
            told = error.problems[0] if isinstance(error, DuplicateError) else text
            log_unread(self.name, told, self.served)
            raise InvalidArgumentError(f"load failed for model '{self.name}': {text}\n") from error

    def _give_up_failed(self) -> None:
        """What was wanted is no longer what is on disk. What answers is wanted for all that; what has only failed is
        not any more.
        """
        if self.served is None and not self._lost:
            self._wanted = None
            self._call_unloaded()
            self._discard_uploads()

    def _call_unloaded(self) -> None:
        """Nobody is to be told why these are not there: they are not wanted any more."""
        for record in self.records:
            if record.version not in self._generations and record.state is ModelState.UNAVAILABLE:
                record.reason = UNLOADED

    def _want(self, candidate: Candidate, kept: Mapping[int, int]) -> Wanted:
        """Give each version its generation: that which stays, or a new one."""
        self._generation += 1
        return Wanted(candidate, {each: kept.get(each, self._generation) for each in candidate.versions})

    async def _await_loads(self, wanted: Wanted, unloads: int, *, anew: bool) -> None:
        found = {(record.version, record.generation): record for record in self.records}
        records = [found[item] for item in wanted.generations.items()]
        # The others stay as they are.
        under_way = [record for record in records if not record.settled.is_set()]
        failed = []
        for record in records:
            await record.settled.wait()
            if record.failure:
                failed.append(record)
        if failed:
            reasons = [
                f"version {record.version} is at UNAVAILABLE state: {record.failure};\n" for record in failed
            ]
            no_room = all(record.no_room for record in failed)
            updated = [str(record.version) for record in under_way if not record.failure]
            if updated and not (no_room and anew):
                reasons.append(f"loaded for all that: version {', '.join(updated)}\n")
            text = f"load failed for model '{self.name}': {''.join(reasons)}"
            if not no_room:
                raise InvalidArgumentError(text)
            # One that is to go must not come back because there may be room later.
            self._check_still_wanted(unloads)
            needed = [record.needed for record in failed if record.needed is not None]
            if anew:
                # Nothing is wrong with it: there may be room when it is asked for. Those of its versions that had some
                # do not answer for the others.
                memory = [record.model.memory for record in records if record.model is not None]
                needed += [each.bytes for each in memory if each is not None]
                self._make_way()
            in_s = None
            if all(record.needed is not None for record in failed):
                in_s = self._loader.residency.room_in(self.name, total(needed))
            raise NoRoomError(text) if in_s is None else NoRoomYetError(text, in_s, total(needed))
        self._check_still_wanted(unloads)

    def unload(self) -> None:
        """Unload the model."""
        self._unloads += 1
        self._was_evicted = False
        self._wanted = self._override = None
        self.problem, self._lost, self._expected = "", False, False
        self._established = frozenset()
        self._call_unloaded()
        for record in self.records:
            record.give_up()
        self._reconcile()

    @property
    def evictable(self) -> bool:
        """Whether it may make room for others, and be loaded again when it is asked for: it is not pinned, nobody needs
        it now, and a load would make the same of it.
        """
        return (
            not (self.busy or self._uploads)
            and all(record.state is not ModelState.LOADING for record in self.records)
            and all(model.idle and not model.pinned for model in self.ready)
        )

    @property
    def stays(self) -> bool:
        """Whether it makes no room for others, however long they wait."""
        return bool(self._uploads) or any(model.pinned for model in self.ready)

    def evict(self) -> None:
        """Unload the model, until it is asked for again. What a client has sent in place of the configuration file
        stays in force.
        """
        self._was_evicted = True
        self._make_way()

    def _make_way(self) -> None:
        self._wanted = None
        self._established = frozenset()
        answered = {model.version for model in self.ready}
        for record in self.records:
            record.gone = EVICTED
            if record.failure and record.version in answered:
                # It is shown in place of the one that answered, which would have said that it was not updated.
                record.reason = f"{EVICTED}; {NOT_UPDATED}{record.failure}"
        self._reconcile()

    def lose(self, model: LoadedModel, failure: str) -> None:
        """A version lacks something that it is made of: it is served no longer, until `refresh`. `failure`: what does
        not fit; "" if that is unloaded.
        """
        for record in self.records:
            if record.model is model and record.state is ModelState.READY:
                record.failure = failure
                record.gone = failure or UNLOADED
                self._lost = not failure
                record.unload()
                self._spawn(self._unload(record))
        self._publish()

    def replace(self, model: LoadedModel, successor: LoadedModel) -> None:
        """Serve another generation of a version from now on, which has been made of it without a load."""
        for record in list(self.records):
            if record.model is model and record.state is ModelState.READY:
                self._generation += 1
                following = record.successor(self._generation)
                following.loaded(successor)
                self.records.append(following)
                wanted = self._wanted
                if wanted is not None and wanted.generations.get(record.version) == record.generation:
                    generations = {**wanted.generations, record.version: self._generation}
                    self._wanted = Wanted(wanted.candidate, generations)
                record.unload()
                self._spawn(self._unload(record))
        self._publish()

    def refresh(self) -> None:
        """What its versions are made of has changed, or is there again: load them once more, unless that is under way
        or nobody wants it.
        """
        loading = any(record.state is ModelState.LOADING for record in self.records)
        if self._wanted is None or self.busy or loading:
            return
        self._generation += 1
        self._lost = False
        versions = self._wanted.generations
        self._wanted = Wanted(self._wanted.candidate, dict.fromkeys(versions, self._generation))
        if self.served is None:
            self._first = self._generations
        self._reconcile(revived=True)

    # --- acting -------------------------------------------------------------------------------------------------

    def _reconcile(self, *, revived: bool = False) -> None:
        """Plan and act until there is nothing more to do now. `revived`: of what is loaded; see `Record`."""
        for action in plan(self._generations, self._actual):
            match action:
                case Load(version, generation) if self._wanted:
                    candidate = self._wanted.candidate
                    record = Record.of(candidate, version, generation)
                    record.revived = revived
                    self.records.append(record)
                    self._spawn(self._load(record, candidate))
                case Unload(version, generation):
                    for record in self.records:
                        if (record.version, record.generation) == (version, generation):
                            record.unload()
                            self._spawn(self._unload(record))
        self._publish()

    def _publish(self) -> None:
        self.records = still_shown(self.records, self._generations, wanted=self._wanted is not None)
        self._discard_uploads()
        self.served = served(self.records)
        if fulfilled(self._generations, self._actual):
            self._established = answering_versions(self._actual)
        self._changed(self)

    def _discard_uploads(self) -> None:
        """Remove the files that have come with loads, and that nothing is made from any more."""
        used = {record.uploaded for record in self.records if record.state is not ModelState.UNAVAILABLE}
        if self._wanted is not None and is_ensemble(self._wanted.candidate.config):
            # It may be loaded once more, when the models of its steps are there; see `refresh`.
            used.add(self._wanted.candidate.uploaded)
        for folder in self._uploads - used:
            self._loader.discard(folder)
        self._uploads &= used

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _load(self, record: Record, candidate: Candidate) -> None:
        started_ns = time.monotonic_ns()
        # Where there is no room, every request may try again: that is told of sparingly.
        level = logging.DEBUG if self._no_room else logging.INFO
        logger.log(level, "loading: %s version %d", self.name, record.version)
        try:
            prepared = await self._loader.prepare(candidate, record.version, record.handover)
            record.began = not isinstance(prepared, PreparedEnsemble)
            model = await self._loader.load(prepared, revived=record.revived)
        except Exception as error:  # noqa: BLE001 - one model's failure, whatever it is, ends in its record
            if record.revived and isinstance(error, StepsMissingError):
                # As before.
                self._lost = True
                record.lost()
                logger.info("not loaded: %s version %d: %s", self.name, record.version, error)
            else:
                self._fail(record, error)
            self._loader.tidying.after_end()
            if self._wanted is None:
                record.reason = UNLOADED
        else:
            model.on_down = partial(self._changed, self)
            self._no_room = self._was_evicted = False
            took_ns = time.monotonic_ns() - started_ns
            model.loaded_in_s = took_ns / 1e9
            record.loaded(model)
            if record.given_up:
                # It must not answer while what has been asked for since is being loaded.
                record.unload()
                self._spawn(self._unload(record))
            log_load(self.name, record, prepared, took_ns)
            self._loader.tidying.after_load()
        self._reconcile()

    def _fail(self, record: Record, error: Exception) -> None:
        """A load has failed."""
        record.no_room = self._no_room = isinstance(error, OverloadedError)
        record.needed = error.needed if isinstance(error, NoRoomYetError) else None
        record.failed(reason_text(error))
        if record.no_room and self._was_evicted:
            record.reason = f"{EVICTED}; {record.reason}"
        if isinstance(error, GivenUpError) or (record.given_up and isinstance(error, UnavailableError)):
            # A process of its own is ended, too.
            logger.info("not loaded: %s version %d, which nobody wants any more", self.name, record.version)
        elif record.no_room:
            log_no_room(self.name, record, self._told_of_no_room)
        else:
            log_failed_load(self.name, record, error, self.served)

    async def _unload(self, record: Record) -> None:
        model = record.model
        assert model is not None  # noqa: S101 - READY means that there is one
        limit_s = self._loader.drain_limit_s
        await asyncio.gather(
            drain(model, limit_s, lambda: self.ready), self._loader.replicas.close(model, limit_s)
        )
        self._loader.residency.closing(model)
        await model.close()
        self._loader.residency.closed(model)
        del model
        record.unloaded()
        log_unloaded(self.name, record, self.served)
        self._loader.cleaning.later()
        self._loader.tidying.after_end()
        self._publish()

    # --- the end ------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Wait until no request and no load is under way, those of versions that are being unloaded included."""
        await asyncio.gather(
            *[record.model.drain() for record in self.records if record.model is not None],
            _all_done(self._commands),
        )

    @property
    def silent_sequences(self) -> int | None:
        """How many sequences are all that `drain` waits for, which nobody has asked anything; None if it is more."""
        models = [record.model for record in self.records if record.model is not None]
        if self._commands or not all(model.quiet for model in models):
            return None
        return sum(model.sequences.live for model in models if model.sequences is not None)

    def abandon(self) -> None:
        """The time is up: what waits fails, and who waits for a load is told."""
        for record in self.records:
            if record.model is not None:
                record.model.abandon()
        for caller in self._callers:
            if not caller.done():
                caller.set_exception(
                    UnavailableError(
                        f"Server exiting: the load of model '{self.name}' was not finished in time"
                    )
                )

    async def stop(self) -> None:
        """Unload, and wait until that is done."""
        self.unload()
        await _all_done(self._tasks)


async def _all_done(tasks: set[asyncio.Task[None]]) -> None:
    """Wait until the set is empty: its tasks leave it when they are done, and may bring others. Whoever gives up
    waiting does not end them.
    """
    while tasks:
        await asyncio.wait(tasks)
