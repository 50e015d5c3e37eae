"""What is in memory: every load asks for room before it begins, and is measured when it has ended."""

import asyncio
import logging
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

from kserve_v2.backend import Handover, ModelSource
from kserve_v2.errors import NoRoomError, NoRoomYetError, OverloadedError, UnavailableError
from kserve_v2.repository.residency.eviction import Resident, Use, evict, excess, less, soonest, total
from kserve_v2.repository.residency.growth import InProcessLoads, LoadWatch, ProcessMemory
from kserve_v2.repository.residency.measuring import (
    CPU,
    MemoryUse,
    processes_bytes,
    shown,
    size_of_files,
    times,
    use_in_process,
)
from kserve_v2.repository.residency.remembered import RememberedUses
from kserve_v2.repository.residency.waiting import any_of, set_on_loop

logger = logging.getLogger(__name__)

# How often it is looked who was asked; and every how many times what processes use by now, for which the kernel keeps
# them from getting memory for a moment.
LOOK_S = 1.0
_LOOKS_PER_MEASURE = 10
# How long a load waits for models that go: one that hangs while it is closed must not hold up all others for ever.
_PATIENCE_S = 30.0


class Models(Protocol):
    """Whoever has the models. On the event loop."""

    async def count(self) -> None:
        """Have everything counted by now that `Held.activity` and the like tell."""
        ...

    def residents(self) -> Mapping[str, bool]:
        """The names of the models that are loaded, and whether each must stay: it, or what is made of it, is pinned,
        being loaded, asked or held by anybody now, or could not be loaded as it is once more.
        """
        ...

    def lasting(self) -> Collection[str]:
        """Those of them that no waiting makes go: they, or what is made of them, are pinned, or could not be loaded
        as they are once more.
        """
        ...

    def users(self) -> "Mapping[str, Sequence[Asked]]":
        """What is made of other models, and loaded, by the names of these: whoever asks it may need them."""
        ...

    def evict(self, name: str) -> None:
        """Unload a model, and what is made of it, to be loaded again when it is asked for."""
        ...


class GivenUpError(UnavailableError):
    """Nobody wants a version any more that was about to be loaded."""


class Asked(Protocol):
    """A version that is loaded. `activity`: another number when it was asked."""

    @property
    def activity(self) -> int: ...

    @property
    def executed_ms(self) -> int:
        """When the last execution has ended, in milliseconds of the system's clock; 0 if there was none."""
        ...


class Held(Asked, Protocol):
    """One that uses memory. `memory`: how much, for all to see. `leaving`: whether it is about to be closed.
    `pids`: of the processes that it runs in, if these are its own.
    """

    memory: MemoryUse | None
    leaving: bool

    @property
    def pids(self) -> Sequence[int]: ...

    def known_memory(self) -> Mapping[str, int] | None:
        """Its weights by device, if its backend knows them. May block."""
        ...


@dataclass(slots=True, eq=False)
class Claim:
    """What one version takes, or is going to take, until it is closed, in as many processes as have a copy of it.
    `handover`: of its load. `files`: by their size, for each of the `copies`. `in_process`: whether it is loaded, as a
    part of what this process takes up. `own`: whether its use is known to be its
    own. `imported`: whether libraries are in it.
    """

    name: str
    version: int
    handover: Handover
    files: MemoryUse
    use: MemoryUse
    copies: int = 1
    model: Held | None = None
    in_process: bool = False
    own: bool = True
    imported: bool = False
    activity: int = -1
    executed_ms: int = 0
    used_s: float = 0.0
    given_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def leaving(self) -> bool:
        """Whether it is going to be closed as soon as what is under way is over."""
        return self.handover.given_up if self.model is None else self.model.leaving


@dataclass(frozen=True, slots=True)
class Budget:
    """`limits`: bytes by device; what has none may be used freely. `min_idle_s`: how long a model has not been asked
    before it may go.
    """

    limits: Use = field(default_factory=dict)
    min_idle_s: float = 0.0


class Residency:
    """Lives on the event loop; what blocks runs on threads."""

    def __init__(
        self,
        models: Models,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
        memory: ProcessMemory | None = None,
    ) -> None:
        """`memory`: of the process that models are loaded in; this one by default."""
        self._models = models
        self.budget = budget
        self.evictions: dict[str, int] = {}
        """How often each model had to make room."""
        self._clock = clock
        # In the order in which they came; a dict, because a load must not take longer the more models there are.
        self._claims: dict[Claim, None] = {}
        self._of_models: dict[Held, Claim] = {}
        self._remembered = RememberedUses()
        self._deciding = asyncio.Lock()
        self._freed = asyncio.Event()
        self._changing = asyncio.Event()
        self._looked_s = clock()
        self._looking: asyncio.Task[None] | None = None
        self.loads = InProcessLoads(budget.limits.get(CPU), memory, clock)
        """Those that are under way in this process."""

    @property
    def limited(self) -> bool:
        """Whether there is a budget at all."""
        return bool(self.budget.limits)

    @property
    def used(self) -> dict[str, int]:
        """What all models use, and those that are being loaded are going to."""
        return total([claim.use.bytes for claim in self._claims])

    # --- loads ----------------------------------------------------------------------------------------------------

    async def admit(self, source: ModelSource, copies: int = 1) -> Claim:
        """Make room for a version that is about to be loaded, by so many processes. Raises NoRoomError if there is
        none, NoRoomYetError where there may be later, and GivenUpError: no other model has to go for it then.
        """
        files = await asyncio.to_thread(size_of_files, source.files_path, source.placements)
        expected = self._remembered.expected((source.name, source.version), files)
        claim = Claim(
            source.name,
            source.version,
            source.handover,
            files,
            times(expected, copies),
            copies,
            used_s=self._clock(),
        )
        loop = asyncio.get_running_loop()
        source.handover.if_given_up(partial(set_on_loop, loop, claim.given_up))
        async with self._turn(claim):
            if self.limited:
                await self._make_room(claim)
            self._claims[claim] = None
        self._tell_of_change()
        return claim

    async def _make_room(self, claim: Claim) -> None:
        """Have models go until there is room beside them for what a claim needs that is not counted yet."""
        deadline = self._clock() + _PATIENCE_S
        while True:
            await self._models.count()
            if claim.leaving:
                raise _given_up(claim)
            taken = total([each.use.bytes for each in self._claims if each is not claim])
            # As if what goes were gone: it is waited for below.
            staying = less(taken, self._leaving())
            names = self._choose(claim.name, staying, claim.use.bytes)
            if names is None:
                raise self._no_room(claim, staying)
            self._evict(names, f"to make room for {claim.name}")
            if not names and not excess(self.budget.limits, total((taken, claim.use.bytes))):
                return
            await self._await_freed(deadline, claim)

    def _choose(self, name: str, taken: Use, needed: Use) -> list[str] | None:
        now_s = self._look()
        found = [each for each in self._residents() if each.name != name]
        return evict(found, self.budget.limits, taken, needed, now_s - self.budget.min_idle_s)

    def _evict(self, names: Sequence[str], why: str) -> None:
        for name in names:
            logger.info("evicting: %s, %s", name, why)
            self.evictions[name] = self.evictions.get(name, 0) + 1
            self._models.evict(name)

    @asynccontextmanager
    async def _turn(self, claim: Claim) -> AsyncIterator[None]:
        """Decide alone. Raises GivenUpError as soon as nobody wants the claim any more: whoever decides may be waiting
        for that to go.
        """
        turn = asyncio.ensure_future(self._deciding.acquire())
        try:
            await any_of(turn, claim.given_up.wait())
            if not turn.done():
                raise _given_up(claim)
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._deciding.release()
            else:
                turn.cancel()

    async def _await_freed(self, deadline: float, claim: Claim) -> None:
        self._freed.clear()
        left_s = max(0.0, deadline - self._clock())
        if not await any_of(self._freed.wait(), claim.given_up.wait(), timeout_s=left_s):
            raise self._no_room(claim, self.used)

    def changing(self) -> asyncio.Event:
        """Set as soon as anything has come or gone, and when it was looked who was asked, since this was called."""
        return self._changing

    def _tell_of_change(self) -> None:
        self._changing.set()
        self._changing = asyncio.Event()

    def is_admitted(self, name: str) -> bool:
        """Whether a model is counted that is loaded, or is being loaded, and stays."""
        return any(claim.name == name and not claim.leaving for claim in self._claims)

    def first_with_room(self, wanted: Iterable[tuple[str, Use]]) -> str | None:
        """The first of these models for so much of which there is room, or could be made by now; None if there is none
        for any of them.
        """
        idle_since_s = self._look() - self.budget.min_idle_s
        taken, found = less(self.used, self._leaving()), list(self._residents())
        too_much: list[Use] = []
        for name, needed in wanted:
            if any(_is_within(each, needed) for each in too_much):
                continue
            others = [each for each in found if each.name != name]
            if evict(others, self.budget.limits, taken, needed, idle_since_s) is not None:
                return name
            if len(others) == len(found):
                too_much.append(needed)
        return None

    def room_in(self, name: str, needed: Use) -> float | None:
        """In how many seconds there may be room for so much of a model beside all others, at the soonest; None if
        waiting alone makes none.
        """
        return self._room_in(name, needed, less(self.used, self._leaving()))

    def _room_in(self, name: str, needed: Use, taken: Use) -> float | None:
        lasting, now_s = {name, *self._models.lasting()}, self._clock()
        found = [
            Resident(each.name, each.use.bytes, each.used_s)
            for each in self._claims
            if not each.leaving and each.name not in lasting
        ]
        return soonest(found, self.budget.limits, taken, needed, now_s, self.budget.min_idle_s)

    def _no_room(self, claim: Claim, taken: Use) -> OverloadedError:
        needed = claim.use.bytes
        short = excess(self.budget.limits, total((taken, needed)))
        parts = [
            f"on {device} it needs {shown(needed.get(device, 0))}, and others keep "
            f"{shown(taken.get(device, 0))} of {shown(self.budget.limits[device])}"
            for device in short
        ]
        why = "; ".join(parts) or "what goes is still there"
        text = f"no room for model '{claim.name}' in the memory budget: {why}"
        in_s = self._room_in(claim.name, needed, taken)
        return NoRoomError(text) if in_s is None else NoRoomYetError(text, in_s, needed)

    @asynccontextmanager
    async def watch(self, claim: Claim) -> AsyncIterator[LoadWatch]:
        """While a version is loaded in this process: by what that grows. Raises GivenUpError if nobody wants it any
        more before its turn has come.
        """
        async with self.loads.watch(claim.name, claim.given_up) as watch:
            if claim.given_up.is_set():
                raise _given_up(claim)
            yield watch

    async def settle(self, claim: Claim, model: Held, watch: LoadWatch | None) -> None:
        """A version is loaded, and not yet served: count what it really uses. `watch`: its load, if that was in this
        process. Raises OverloadedError if it is too much, and nobody makes room.
        """
        growth = None if watch is None else watch.bytes
        measured = await asyncio.to_thread(_measure, model, claim.files, growth)
        version, own = (claim.name, claim.version), watch is None or watch.own or not measured.estimated
        if not own:
            measured = self._remembered.own(version, claim.files) or measured
        claim.use = times(measured, claim.copies)
        claim.in_process, claim.own = not model.pids, own
        claim.imported = watch is not None and watch.imported and measured.estimated
        if not measured.estimated:
            self._remembered.keep(version, measured, claim.files, own=own)
        if self.limited and not claim.leaving:
            async with self._turn(claim):
                await self._make_room(claim)
        claim.model, model.memory = model, claim.use
        self._of_models[model] = claim
        claim.used_s = self._clock()
        claim.activity, claim.executed_ms = model.activity, model.executed_ms
        self._remembered.keep(version, measured, claim.files, own=own)
        if self._looking is None and (self.limited or model.pids):
            self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    def grew(self, model: Held, growth: int) -> None:
        """A loaded version has got more instances, and the process has grown by that."""
        claim = self._of_models.get(model)
        if claim is not None and growth:
            size = claim.use.bytes.get(CPU, 0) + growth * claim.copies
            claim.use = model.memory = MemoryUse({**claim.use.bytes, CPU: size}, claim.use.estimated)

    def releasing(self, claim: Claim) -> None:
        """A version that was loaded is about to be closed."""
        if claim.in_process:
            size = claim.use.bytes.get(CPU, 0) // claim.copies
            self.loads.closing(claim, size, whole=claim.own)

    def release(self, claim: Claim) -> None:
        """A version was not loaded, or is closed."""
        self.loads.closed(claim)
        self._claims.pop(claim, None)
        if claim.model is not None:
            self._of_models.pop(claim.model, None)
        self._freed.set()
        self._tell_of_change()

    def closing(self, model: Held) -> None:
        """A loaded version is about to be closed."""
        claim = self._of_models.get(model)
        if claim is not None:
            self.releasing(claim)

    def closed(self, model: Held) -> None:
        """It is."""
        claim = self._of_models.get(model)
        if claim is not None:
            self.release(claim)

    # --- looks ----------------------------------------------------------------------------------------------------

    def _residents(self) -> Iterator[Resident]:
        claims: dict[str, list[Claim]] = {}
        for claim in self._claims:
            claims.setdefault(claim.name, []).append(claim)
        for name, held in self._models.residents().items():
            if own := claims.get(name):
                used_s = max(claim.used_s for claim in own)
                yield Resident(name, total([claim.use.bytes for claim in own]), used_s, held)

    def _leaving(self) -> Use:
        """What those use that are going to be closed."""
        return total([claim.use.bytes for claim in self._claims if claim.leaving])

    def _look(self) -> float:
        """See who was asked since the last time, by what was counted. Returns the time."""
        now_s, now_ms, before_s = self._clock(), time.time_ns() // 1_000_000, self._looked_s
        users = self._models.users()
        for claim in self._claims:
            if claim.model is None:
                continue
            asked = (claim.model, *users.get(claim.name, ()))
            activity = sum(each.activity for each in asked)
            if claim.activity == activity:
                continue
            claim.activity, claim.used_s = activity, now_s
            executed_ms = max(each.executed_ms for each in asked)
            if executed_ms != claim.executed_ms:
                # Between two looks the order counts. The system's clock may jump, but not out of that time.
                claim.executed_ms = executed_ms
                claim.used_s = min(now_s, max(before_s, now_s - (now_ms - executed_ms) / 1000))
        self._looked_s = now_s
        return now_s

    async def _keep_looking(self) -> None:
        for number in count(1):
            await asyncio.sleep(LOOK_S)
            await self._models.count()
            self._look()
            self._tell_of_change()
            if number % _LOOKS_PER_MEASURE == 0:
                await self._measure_processes()
                self._trim()

    async def _measure_processes(self) -> None:
        for claim in list(self._claims):
            model = claim.model
            if model is not None and not model.leaving and (pids := model.pids):
                size = await asyncio.to_thread(processes_bytes, pids)
                claim.use = model.memory = MemoryUse({**claim.use.bytes, CPU: size}, claim.use.estimated)

    def _trim(self) -> None:
        """What has grown while it ran must not stay above the budget, as far as others can go."""
        used = self.used
        if self._deciding.locked() or not excess(self.budget.limits, used):
            return
        names = self._choose("", less(used, self._leaving()), {})
        self._evict(names or (), "because others have grown")

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._looking is not None:
            self._looking.cancel()


def _given_up(claim: Claim) -> GivenUpError:
    return GivenUpError(f"model '{claim.name}' was unloaded meanwhile")


def _is_within(use: Use, other: Use) -> bool:
    return all(other.get(device, 0) >= size for device, size in use.items())


def _measure(model: Held, files: MemoryUse, growth: int | None) -> MemoryUse:
    """Blocks."""
    pids = model.pids
    if pids:
        # What is on other devices only its own process could tell.
        others = {device: size for device, size in files.bytes.items() if device != CPU}
        return MemoryUse({**others, CPU: processes_bytes(pids)}, bool(others))
    return use_in_process(model.known_memory(), files, growth)
