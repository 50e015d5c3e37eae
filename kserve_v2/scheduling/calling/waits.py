"""Which models wait for which others: so that no call is made that could make all of them wait for ever.

Every execution that calls another model keeps its place in its instance until it is answered. If all places of a model
are kept by executions that wait for a second model, and all of that one's by executions that wait for the first,
nothing ever goes on. The last call of such a circle is refused.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from kserve_v2.errors import InternalError, ServingError, UnavailableError
from kserve_v2.messages import CallingModel, InferRequest, InferResponse
from kserve_v2.scheduling.target import Reply, Ticket


class ModelVersion(NamedTuple):
    """A loaded version of a model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"'{self.name}' version {self.version}"


Submit = Callable[[InferRequest, Reply], InferResponse | Ticket]


class Waits:
    """The calls of all models that are under way. Lives on the event loop."""

    def __init__(self) -> None:
        # For each model that waits: for whom, and how many calls each of its executions has made.
        self._callees: dict[ModelVersion, Counter[ModelVersion]] = {}
        self._executions: dict[ModelVersion, Counter[int]] = {}
        self._places: dict[ModelVersion, int] = {}

    def __repr__(self) -> str:
        return f"<Waits {self._callees}>"

    def submit(
        self, request: InferRequest, reply: Reply, callee: ModelVersion, places: int, submit: Submit
    ) -> InferResponse | Ticket:
        """Submit the request of a model to `callee`, which can execute `places` batches at a time. Raises as `submit`,
        and as `begin`.
        """
        wait = _Wait(self, request.callers[-1], callee, reply)
        self.begin(wait.caller, callee, places)
        try:
            asked = submit(request, wait)
        except ServingError:
            wait.over()
            raise
        if isinstance(asked, InferResponse):
            wait.over()
            return asked
        wait.ticket = asked
        return wait

    def begin(self, caller: CallingModel, callee: ModelVersion, places: int) -> None:
        """An execution of one model waits for another model. Raises UnavailableError if it could wait for ever."""
        waiting = ModelVersion(caller.name, caller.version)
        self._places[callee] = places
        self._callees.setdefault(waiting, Counter())[callee] += 1
        self._executions.setdefault(waiting, Counter())[caller.execution] += 1
        if self._is_full(waiting) and self._waits_for(callee, waiting):
            self.end(caller, callee)
            raise UnavailableError(
                f"it would wait for {callee}, which itself waits for {waiting} with all that it can execute at a "
                "time; more instances of either can help"
            )

    def end(self, caller: CallingModel, callee: ModelVersion) -> None:
        """The execution waits for that no longer."""
        waiting = ModelVersion(caller.name, caller.version)
        for counts, key in ((self._callees, callee), (self._executions, caller.execution)):
            counted: Counter[object] = counts[waiting]  # type: ignore[assignment]
            counted[key] -= 1
            if not counted[key]:
                del counted[key]
            if not counted:
                del counts[waiting]

    def _is_full(self, model: ModelVersion) -> bool:
        """Whether all of its places are kept by executions that wait. What nobody has called has any number."""
        return len(self._executions.get(model, ())) >= self._places.get(model, 1 << 62)

    def _waits_for(self, start: ModelVersion, goal: ModelVersion) -> bool:
        """Whether a model that is full waits for another one, at first or second hand: for models that are full."""
        seen: set[ModelVersion] = set()
        to_see = [start]
        while to_see:
            model = to_see.pop()
            if model == goal:
                return True
            if model not in seen and self._is_full(model):
                seen.add(model)
                to_see.extend(self._callees.get(model, ()))
        return False


class _Wait:
    """One call, counted until it is over. It is the reply to it, and the ticket of whoever waits."""

    __slots__ = ("_callee", "_open", "_reply", "_waits", "caller", "respond", "ticket")

    def __init__(self, waits: Waits, caller: CallingModel, callee: ModelVersion, reply: Reply) -> None:
        self.caller = caller
        self.ticket: Ticket | None = None
        self.respond = reply.respond
        self._waits = waits
        self._callee = callee
        self._reply = reply
        self._open = True

    def over(self) -> None:
        """Nobody waits any more."""
        if self._open:
            self._open = False
            self._waits.end(self.caller, self._callee)

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses."""
        self.over()
        self._reply.end(error)

    def give_up(self) -> None:
        """The caller has left."""
        self.over()
        if self.ticket is not None:
            self.ticket.give_up()


def refuse_circle(request: InferRequest, callee: ModelVersion) -> None:
    """Raises InternalError if this version of a model waits for the answer to the request itself."""
    chain = [ModelVersion(caller.name, caller.version) for caller in request.callers]
    if callee in chain:
        shown = " -> ".join(map(str, [*chain, callee]))
        raise InternalError(
            f"Model {callee.name} - Error when running inference: it would wait for itself: it is called while it "
            f"waits for the answer of this call ({shown})"
        )
