"""A loaded version of a model: its configuration, signature, statistics and scheduler, ready to be asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.backend import (
    ModelConfig,
    ModelSource,
)
from kserve_v2.config.loaded_fields import adopt
from kserve_v2.config.switches import PIN, switch
from kserve_v2.errors import InvalidArgumentError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.batching import (
    BatchingDecision,
)
from kserve_v2.repository.models.homes import ONE_PROCESS
from kserve_v2.repository.residency.measuring import MemoryUse
from kserve_v2.scheduling.sequences.gate import SequenceGate
from kserve_v2.scheduling.sequences.rules import step_of
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import ModelStatistics
from kserve_v2.scheduling.target import Reply, Target, Ticket
from kserve_v2.scheduling.under_way import UnderWay
from kserve_v2.scheduling.warm_up import WarmedUp
from kserve_v2.tracing.trace import Trace


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the copies of a version in other processes were doing when they were asked last, all together. `depths`: how
    many requests wait on each level of priority. `places`: how many batches they can execute at a time.
    """

    depths: tuple[int, ...] = ()
    places: int = 0
    idle: bool = True


NOWHERE_ELSE = Elsewhere()


class LoadedModel:
    """One loaded version. Lives on the server's event loop."""

    splits = False
    """Whether it stands for several versions, and each request has to be routed to one of them first."""

    def __init__(
        self,
        source: ModelSource,
        config: ModelConfig,
        target: Target,
        statistics: ModelStatistics,
        labels: dict[str, tuple[str, ...]],
        signature: ModelSignature,
    ) -> None:
        """`target`: what checked requests are submitted to."""
        self.name = source.name
        self.version = source.version
        self.path = source.model_path
        self.config = config
        self.signature = signature
        self.labels = labels
        self.batched = config.max_batch_size > 0
        self.batching = BatchingDecision()
        self.decoupled = config.model_transaction_policy.decoupled
        self.statistics = statistics
        self.home = ONE_PROCESS
        """Which processes of the server have it."""
        self.elsewhere = NOWHERE_ELSE
        """What those do."""
        self.warmed_up = WarmedUp()
        self.loaded_in_s: float | None = None
        """How long that took; None until it is over."""
        self.memory: MemoryUse | None = None
        """What it uses; None while that is not known, and of what is made of other models."""
        self._target = target
        self.sequences = target if isinstance(target, SequenceGate) else None
        """Of a model with sequences: those that are live."""
        self.down = ""
        """Why it cannot answer for now, although it is loaded; "" if it can."""
        self.on_down: Callable[[], None] = lambda: None
        """Called when that changes."""
        self.leaving = False
        """Whether it is to answer what is under way, and no more."""
        self._leases = UnderWay()
        # For checked requests of clients; see `Target`. A release may put something before the target.
        self.submit = target.submit

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} version={self.version} {self._target!r}>"

    def begin_trace(self, request: InferRequest, trace: Trace) -> None:
        """Have what happens to a decoded request taken down in `trace`."""
        request.trace = trace
        trace.begin_request(str(self.version), request.id, request.inputs)

    def check(self, request: InferRequest) -> None:
        """Check a request against the signature, if that has not been done yet.

        Raises InvalidArgumentError for a request that does not fit.
        """
        if not request.checked:
            request.rows, request.batch_key = self.signature.check(request)
            if request.control:
                request.sequence = step_of(request.control)
            request.checked = True

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Check a request of another model, and have it answered; see `Target.submit`."""
        self._raise_if_down()
        self._begin_call(request)
        return self._target.submit(request, reply)

    def _raise_if_down(self) -> None:
        """Other models hold it, whether it answers or not. Raises UnavailableError."""
        if self.down:
            raise UnavailableError(self.down)

    def _begin_call(self, request: InferRequest) -> None:
        if request.trace is not None:
            self.begin_trace(request, request.trace)
        self.check(request)

    async def says_ready(self) -> bool:
        """Whether the model itself says that it is ready, if it says anything of that."""
        return True

    def adopt(self, written: ModelConfig) -> None:
        """The configuration has changed, but in nothing that a load goes by: show it as it is now."""
        self.config = adopt(self.config, written)

    async def change_instances(self, config: ModelConfig, gpu_count: int) -> tuple[int, int]:
        """Have the instances that a complete configuration says, which differs from its own in nothing else. Returns
        how many have come, and how many go. Raises InvalidArgumentError where that takes a load, and what making one
        raises; then nothing has changed.
        """
        raise InvalidArgumentError("it has no instances")

    @property
    def note(self) -> str:
        """What the table of models tells of it."""
        notes = [f"{self.memory} of memory"] if self.memory is not None and self.memory.bytes else []
        if self.warmed_up.executions:
            notes.append(f"warmed up in {self.warmed_up.seconds:.2f} s")
        if home := str(self.home):
            notes.append(home)
        return ", ".join(notes)

    @property
    def idle(self) -> bool:
        """Whether nobody needs it now: no request waits, no sequence is live, and nobody has a lease."""
        return self.elsewhere.idle and not (self._leases.count or self.live or self._target.depth)

    @property
    def quiet(self) -> bool:
        """Whether it has nothing to do: whatever sequences are live, nobody has asked them anything."""
        return not self._target.depth and (self.sequences is None or self.sequences.silent)

    @property
    def spare(self) -> bool:
        """Whether one more request would be executed at once, in this process, and keep no other waiting: nothing
        waits, and not all instances are busy.
        """
        return self.quiet

    @property
    def activity(self) -> int:
        """Another number when it was asked."""
        return self.statistics.activity

    @property
    def executed_ms(self) -> int:
        """When its last execution has ended, in milliseconds of the system's clock; 0 if there was none."""
        return self.statistics.last_inference_ms

    @property
    def pinned(self) -> bool:
        """Whether it is to stay loaded."""
        return switch(self.config, PIN) is True

    @property
    def pids(self) -> Sequence[int]:
        """Of the processes that it runs in, if these are its own."""
        return ()

    def known_memory(self) -> Mapping[str, int] | None:
        """Its weights in bytes by device, in PyTorch's spelling; None if nobody knows. May block."""
        return None

    # --- its life -------------------------------------------------------------------------------------------------

    @property
    def like(self) -> "LoadedModel":
        """Itself; of one that stands for several versions, that which gets most requests."""
        return self

    @property
    def target(self) -> Target:
        """What checked requests end up at."""
        return self._target

    @property
    def depth(self) -> int:
        """How many requests wait for their execution."""
        return self._target.depth + sum(self.elsewhere.depths)

    @property
    def places(self) -> int:
        """How many batches its instances can execute at a time; 0 for what has none."""
        return 0

    @property
    def under_way_since(self) -> Sequence[int]:
        """When each execution has begun that an instance does now, in nanoseconds of the monotonic clock."""
        return ()

    @property
    def in_place(self) -> bool:
        """Whether requests are executed on the event loop at present, as the model has shown to be quick."""
        return False

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process of its own: whether it is alive, and how many have died in its place."""
        return ()

    @property
    def depths(self) -> list[int]:
        """How many requests wait on each level of priority, the one that is served first in front."""
        return [self._target.depth]

    @property
    def live(self) -> int:
        """How many sequences it has begun that are not over."""
        return self.sequences.live if self.sequences is not None else 0

    async def sequences_over(self) -> None:
        """Wait until it has no live sequence."""
        if self.sequences is not None:
            await self.sequences.over()

    def lease(self) -> "Lease":
        """Keep this version loaded, and its instances alive, until the lease is released."""
        return Lease(self, self._leases)

    async def drain(self) -> None:
        """Wait until no request is under way, and nobody has a lease."""
        await self._leases.none()
        if self.sequences is not None:
            self.sequences.outlived = self.leaving
        await self._target.drain()

    def abandon(self, why: str = "") -> None:
        """The time to wait is up: fail what has not begun; see `Target.abandon`."""
        self._target.abandon(why)

    async def close(self) -> None:
        """Close what answers the requests, and free what it holds."""
        await self._target.stop()


class Lease:
    """Keeps a loaded version from being closed, for whoever needs it for longer than a turn of the event loop."""

    __slots__ = ("_leases", "model")

    def __init__(self, model: LoadedModel, leases: UnderWay) -> None:
        self.model = model
        self._leases: UnderWay | None = leases
        leases.begin()

    def release(self) -> None:
        """It is not needed any more. May be called again."""
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.end()
