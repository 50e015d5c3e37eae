"""A response cache in front of a model: what was answered before is not executed again."""

import itertools
import logging
import time
from collections.abc import Collection, Hashable, Mapping

from kserve_v2.caching.cache import CacheSpace, Caching
from kserve_v2.caching.entry import Entry, entry_of
from kserve_v2.caching.key import KeyMaker
from kserve_v2.memory.inflight import is_mapped
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.executing.traces import trace_response
from kserve_v2.scheduling.flight import Flight, Waiter
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Reply, Target, Ticket
from kserve_v2.scheduling.under_way import UnderWay
from kserve_v2.tensors.datatypes import Array

logger = logging.getLogger(__name__)


class CachedTarget:
    """A target around another. Answers from the cache in the same turn where the entries lie in the server's memory,
    and has equal requests that are in flight at the same time executed once.
    """

    def __init__(self, target: Target, spec: ModelSpec, caching: Caching) -> None:
        self.spec = spec
        self.target = target
        self.under_way = UnderWay()
        # Callers that wait for an execution that another request has started, or for an answer from the cache.
        self.waiting = 0
        self.abandoned = False
        self._caching = caching
        self._version = spec.version
        # Whether its answers may be made of other models', as those of a handler that calls them; and as of when.
        self._calls_others = False
        self._changes = 0
        self._open(None)
        self._statistics = spec.statistics
        self._levels = spec.levels
        self._flights: dict[Hashable, Flight] = {}
        self._coalesces = caching.coalesces
        # Of flights that nobody joins.
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"<CachedTarget flights={len(self._flights)} {self.target!r}>"

    def _open(self, generation: object) -> None:
        """From now on entries are those of `generation`."""
        spec = self.spec
        self._generation = generation
        self._changes = spec.changes.count
        self._space = self._caching.space()
        self._keys = KeyMaker(spec.name, spec.version, self._space.seed, fixed=spec.signature.fixed_inputs)

    def renew(self, generation: object) -> None:
        """The models are others whose answers these are: forget all of them. `generation`: what a request is pinned to
        that is to be answered by these models.
        """
        self._space.close()
        self._open(generation)

    async def start(self) -> None:
        """Start what is behind the cache."""
        await self.target.start()

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Answer from the cache, or have the request executed. Raises as the target behind it."""
        control = request.control
        if (
            (control and control.get("sequence_id"))
            or request.pinned not in (None, self._generation)
            or request.packed is not None
        ):
            # An answer of a sequence hangs on what came before; one of other models is none of these; and what is
            # packed means something only with what is beside it.
            return self.target.submit(request, reply)
        begun_ns = time.monotonic_ns()
        if self._calls_others and self._changes != self.spec.changes.count:
            self.renew(self._generation)
        for array in request.inputs.values():
            if array.base is not None and is_mapped(array):
                request.inputs = _own_copies(request.inputs)
                break
        key = self._keys.key(request.inputs, request.requested_outputs, request.parameters, request.rows)
        # Models that call each other must not wait for each other's executions as well; and whether a model may call
        # another one depends on who waits for it.
        shares = self._coalesces and not request.callers
        if self._flights and shares:
            # One that is to be executed earlier does not wait for one that comes later.
            flight = self._flights.get((key, self._levels.level_of(request)))
            if flight is not None:
                return flight.join(request, reply, begun_ns)
        found = self._space.recall(key)
        if isinstance(found, Entry):
            duration_ns = time.monotonic_ns() - begun_ns
            self._statistics.record_cached(duration_ns, duration_ns)
            return self.answer(request, found, begun_ns)
        place = (key, self._levels.level_of(request)) if shares else next(self._numbers)
        flight = Flight(self, self._space, key, place, request.requested_outputs)
        asked = (
            flight.execute(request, reply, begun_ns)
            if found is None
            else flight.look_up(request, reply, begun_ns, found)
        )
        if isinstance(asked, Waiter):
            self._flights[place] = flight
        return asked

    def hit(self, request: InferRequest, entry: Entry, begun_ns: int, lookup_ns: int) -> InferResponse:
        """The answer to a request that is not executed, and is counted as a hit. `lookup_ns`: how long it took to find
        that out.
        """
        self._statistics.record_cached(time.monotonic_ns() - begun_ns, lookup_ns)
        return self.answer(request, entry, begun_ns)

    def answer(self, request: InferRequest, entry: Entry, begun_ns: int) -> InferResponse:
        """The answer to a request, from what another one was answered."""
        if self._calls_others and request.calls is None:
            request.calls = set()
        if request.trace is not None:
            request.trace.stamp("QUEUE_START", begun_ns)
            trace_response(request.trace, dict(entry.outputs))
            request.trace.stamp("REQUEST_END")
        return InferResponse(
            request.model_name, self._version, request.id, {**entry.outputs}, {**entry.parameters}
        )

    def keep(
        self, space: CacheSpace, key: bytes, answer: InferResponse, wanted: Collection[str]
    ) -> Entry | None:
        """Keep an answer that has all the outputs that are wanted; what is kept, or None."""
        begun_ns = time.monotonic_ns()
        outputs = answer.outputs
        if not all(name in outputs for name in wanted or self.spec.signature.outputs):
            return None
        if not space.has_room_for(sum([array.nbytes for array in outputs.values()])):
            return None
        entry = entry_of(outputs, answer.parameters)
        space.keep(key, entry)
        self._statistics.cache_miss.ns += time.monotonic_ns() - begun_ns
        return entry

    def outlives(self, request: InferRequest, changes: int) -> bool:
        """Whether the answer to a request may be kept that was executed since the given number of changes. One that is
        made of other models' answers is right as long as these are the same, which is not known of other servers.
        """
        if request.calls is None:
            return True
        if self._caching.cache.shared:
            if not self._calls_others:
                logger.warning(
                    "model '%s': answers for which it has called other models are not kept in a cache that servers "
                    "share; --cache-config local,size=BYTES keeps them until one of the models changes",
                    self.spec.name,
                )
            self._calls_others = True
            return False
        if not self._calls_others:
            # None of what is kept so far is made of others' answers.
            self._calls_others = True
            self._changes = self.spec.changes.count
        return changes == self.spec.changes.count == self._changes

    def forget(self, flight: Flight) -> None:
        """A flight is over."""
        self._flights.pop(flight.place, None)

    # --- the end ----------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Requests that wait for their execution, or for another one's."""
        return self.target.depth + self.waiting

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self.under_way.none()
        await self.target.drain()

    def abandon(self, why: str = "") -> None:
        """Fail what has not begun."""
        self.abandoned = True
        self.target.abandon(why)
        for flight in list(self._flights.values()):
            flight.abandon(why)

    async def stop(self) -> None:
        """Finish what is there, and drop the entries."""
        await self.target.stop()
        self._space.close()


def _own_copies(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of what lies in a client's shared memory: it could be one thing when it is hashed and another one when it
    is executed, and the answer to one would be given for the other.
    """
    return {name: array.copy() if is_mapped(array) else array for name, array in inputs.items()}
