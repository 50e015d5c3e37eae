"""An ensemble as a target: nothing waits in it and nothing is executed by it, its steps' models do both."""

import asyncio
import time
from collections.abc import Callable

from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.calling.caller import Callee
from kserve_v2.scheduling.ensemble.binding import Binding
from kserve_v2.scheduling.ensemble.run import Run
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import FailureReason
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.scheduling.under_way import UnderWay


class EnsembleTarget:
    """Answers requests by the steps of its `binding`, which is replaced as a whole when another version of a step's
    model answers: requests that have begun keep theirs. Lives on the event loop.
    """

    def __init__(
        self,
        spec: ModelSpec,
        binding: Binding,
        max_inflight: int = 0,
        holder: Callable[[Callee, InferRequest], Callee] = lambda callee, _: callee,
    ) -> None:
        """`max_inflight`: how many requests of one step may be under way for one request, 0 for any number; see
        `max_inflight_requests`.
        """
        self.name = spec.name
        self.version = spec.version
        self.binding = binding
        self.max_inflight = max_inflight
        self.holder = holder
        self.loop = asyncio.get_running_loop()
        self._statistics = spec.statistics
        self._runs: set[Run] = set()
        self._under_way = UnderWay()
        self._closed = False

    def __repr__(self) -> str:
        return f"<EnsembleTarget {self.name} version={self.version} under_way={len(self._runs)}>"

    async def start(self) -> None:
        """There is nothing to make: the steps are models that are loaded."""

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Answer a checked request by the steps of its binding. Raises the error of one that fails at once."""
        if self._closed:
            raise UnavailableError(f"ensemble '{self.name}' version {self.version} is unloaded")
        binding = request.pinned if isinstance(request.pinned, Binding) else self.binding
        return Run(self, binding, request, reply).begin()

    @property
    def depth(self) -> int:
        """None: what waits does so at the models of the steps."""
        return 0

    async def drain(self) -> None:
        """Wait until no request is under way."""
        await self._under_way.none()

    def abandon(self, why: str = "") -> None:
        """End the requests that are under way with an error."""
        for run in list(self._runs):
            run.abandon(why)

    async def stop(self) -> None:
        """Take no more requests, and finish those that are there."""
        self._closed = True
        await self.drain()

    # --- what its requests tell -----------------------------------------------------------------------------------

    def began(self, run: Run) -> None:
        """A request has to wait for its steps."""
        self._runs.add(run)
        self._under_way.begin()

    def ended(self, run: Run, error: ServingError | None) -> None:
        """A request is over."""
        end_ns = time.monotonic_ns()
        if run.request.trace is not None:
            run.request.trace.stamp("REQUEST_END", end_ns)
        if error is None:
            self._statistics.record_composed(
                run.request.rows,
                run.began_ns,
                end_ns,
                run.queue_ns,
                run.compute_ns,
                time.time_ns() // 1_000_000,
            )
        else:
            self._statistics.record_failure(FailureReason.OTHER, end_ns - run.began_ns)
        self._left(run)

    def given_up(self, run: Run) -> None:
        """The caller of a request has left."""
        self._statistics.record_failure(FailureReason.CANCELED, time.monotonic_ns() - run.began_ns)
        self._left(run)

    def _left(self, run: Run) -> None:
        if run in self._runs:
            self._runs.remove(run)
            self._under_way.end()
