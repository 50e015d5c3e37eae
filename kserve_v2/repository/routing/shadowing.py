"""Shadows: copies of requests to another version, whose answers are compared with those that clients got, and dropped.

Nothing of it comes before the answer but a copy of what a model may write to. It is executed in a later turn of the
event loop, when the version has nothing else to do, is bounded in number and memory, and dropped where there is no
room.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import random

from kserve_v2.config.release import Shadow
from kserve_v2.errors import ErrorCode, ServingError, describe, reason_of
from kserve_v2.logs.sparing import Sparing
from kserve_v2.memory.inflight import InflightBytes, is_mapped, tensor_bytes
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.compare import Difference, differences
from kserve_v2.repository.routing.copy_line import CopyLine
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.tensors.datatypes import Array

logger = logging.getLogger(__name__)

OUTCOMES = ("equal", "different", "failed", "dropped", "skipped")
"""What becomes of a copy. `dropped`: there was no room for it, or the version was busy, or could not answer. `skipped`:
of requests with tensors in the client's memory, which it may change.
"""

# Answers up to this size are compared on the event loop.
_SMALL_BYTES = 64 * 1024


@dataclass(slots=True)
class ShadowCounts:
    """What has become of the copies for one version. `differing` and `largest`: by output."""

    outcomes: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    largest: dict[str, float] = field(default_factory=dict)
    under_way: int = 0
    told: Sparing = field(default_factory=Sparing)
    traced: Sparing = field(default_factory=Sparing)


class Shadowing:
    """Stands before what one version answers. Lives on the event loop."""

    def __init__(
        self,
        model: LoadedModel,
        shadow: LoadedModel,
        rules: Shadow,
        counts: ShadowCounts,
        inflight: InflightBytes,
        line: CopyLine,
        draw: Callable[[], float] = random,
    ) -> None:
        """`shadow`: the version that gets copies of what `model` answers. `line`: where these wait for it, with all
        others. `draw`: a random number from 0 up to 1.
        """
        self.model, self.shadow, self.rules, self.counts = model, shadow, rules, counts
        self._answer = model.target.submit
        self._inflight = inflight
        self.line = line
        self._draw = draw
        self._loop = asyncio.get_running_loop()

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """As `Target.submit`. Requests that name a version by its number are nobody's concern."""
        copy = self._copy(request)
        if copy is None:
            return self._answer(request, reply)
        try:
            answered = self._answer(request, copy.watch(reply))
        except BaseException:
            copy.cancel()
            raise
        if isinstance(answered, InferResponse):
            copy.answered(answered)
            return answered
        return _WatchedTicket(answered, copy)

    def _copy(self, request: InferRequest) -> "_Copy | None":
        """A copy to execute later; None if there is to be none."""
        rules, counts = self.rules, self.counts
        if request.model_version and request.model_version not in rules.labels:
            return None
        if rules.percent < 100 and self._draw() * 100 >= rules.percent:
            return None
        if counts.under_way >= rules.max_requests or self.shadow.down or self.shadow.leaving:
            counts.outcomes["dropped"] += 1
            return None
        if any(is_mapped(array) for array in request.inputs.values()):
            counts.outcomes["skipped"] += 1
            return None
        size = tensor_bytes(request.inputs)
        if not self._inflight.has_room(size):
            counts.outcomes["dropped"] += 1
            return None
        self._inflight.hold(size)
        counts.under_way += 1
        copied = InferRequest(
            request.model_name,
            _kept(request.inputs),
            str(self.shadow.version),
            request.id,
            dict(request.parameters),
            request.requested_outputs,
            packed=request.packed,
        )
        copied.logs_failure = self._logs_failure
        return _Copy(self, copied, size)

    def run(self, copy: "_Copy") -> Ticket | None:
        """Have a copy answered. None: it is over."""
        shadow = self.shadow
        try:
            shadow.check(copy.request)
            answered = shadow.submit(copy.request, copy)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            self.line.ended(copy)
            self.failed(copy, error)
            return None
        if isinstance(answered, InferResponse):
            copy.respond(answered)
            copy.end()
            return None
        return answered

    def failed(self, copy: "_Copy", error: Exception) -> None:
        """A copy got no answer."""
        if isinstance(error, ServingError) and error.code is ErrorCode.UNAVAILABLE:
            copy.over("dropped")
            return
        copy.over("failed")
        self._log("failed: %s", reason_of(error))

    def compare(self, copy: "_Copy", given: InferResponse, shadowed: InferResponse) -> None:
        """Both answers are there."""
        try:
            if tensor_bytes(given.outputs) <= _SMALL_BYTES:
                self._compared(copy, differences(given.outputs, shadowed.outputs, self.rules))
                return
            compared = self._loop.run_in_executor(
                None, differences, given.outputs, shadowed.outputs, self.rules
            )
        except Exception as error:  # noqa: BLE001 - whoever has answered must not suffer from it
            self._not_compared(copy, error)
        else:
            compared.add_done_callback(lambda done: self._compared_elsewhere(copy, done))

    def _not_compared(self, copy: "_Copy", error: BaseException) -> None:
        copy.over("failed")
        self._log("could not be compared: %s", describe(error))

    def _compared_elsewhere(
        self, copy: "_Copy", done: "asyncio.Future[tuple[list[Difference], dict[str, float]]]"
    ) -> None:
        if done.cancelled():
            copy.over("dropped")
        elif error := done.exception():
            self._not_compared(copy, error)
        else:
            self._compared(copy, done.result())

    def _compared(self, copy: "_Copy", found: tuple[list[Difference], dict[str, float]]) -> None:
        different, largest = found
        counts = self.counts
        for name, apart in largest.items():
            counts.largest[name] = max(apart, counts.largest.get(name, 0.0))
        for each in different:
            counts.differing[each.output] += 1
        copy.over("different" if different else "equal")
        if different:
            self._log("differs: %s", "; ".join(f"output '{each.output}': {each.why}" for each in different))

    def _logs_failure(self) -> bool:
        """Whether the traceback of a failure is logged: one in a while says it. How many there are is counted."""
        return self.counts.traced.left_out() is not None

    def _log(self, what: str, why: str) -> None:
        """Say what is wrong with a copy, unless something was said a short while ago."""
        if (left_out := self.counts.told.left_out()) is None:
            return
        more = f" ({left_out} more since the last such line)" if left_out else ""
        logger.warning(
            "model '%s': the shadow of version %d, version %d, " + what + "%s",
            self.model.name, self.model.version, self.shadow.version, why, more,
        )  # fmt: skip


class _Copy:
    """A request that is executed once more; the reply to that, when the first answer is there."""

    __slots__ = ("_given", "_over", "_shadowed", "_shadowing", "_size", "_ticket", "request")

    def __init__(self, shadowing: Shadowing, request: InferRequest, size: int) -> None:
        self.request = request
        self._shadowing = shadowing
        self._size = size
        self._given: InferResponse | None = None
        self._shadowed: InferResponse | None = None
        self._ticket: Ticket | None = None
        self._over = False

    def watch(self, reply: Reply) -> "_WatchedReply":
        """The reply to the client's request."""
        return _WatchedReply(reply, self)

    def answered(self, response: InferResponse) -> None:
        """The client's answer is there; it is sent within this turn of the loop."""
        self._given = response
        self._shadowing._loop.call_soon(self._shadowing.line.put, self)

    def cancel(self) -> None:
        """The client's request has failed, or was given up: there is nothing to compare with."""
        self.over("")

    @property
    def may_begin(self) -> bool:
        """Whether the shadow answers, and has an instance that nobody else needs now."""
        shadow = self._shadowing.shadow
        return not (shadow.down or shadow.leaving) and shadow.spare

    def begin(self) -> None:
        """Have it executed."""
        self._ticket = self._shadowing.run(self)

    def drop(self) -> None:
        """It is not executed, or nobody waits for that any more."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.give_up()
        self.over("dropped")

    def left(self) -> None:
        """The client waits no longer; an answer that it has got is compared all the same."""
        if self._given is None:
            self.cancel()

    def respond(self, response: InferResponse) -> None:
        """Take the answer of the shadow."""
        self._shadowed = response

    def end(self, error: ServingError | None = None) -> None:
        """The shadow has answered, or failed."""
        given, shadowed = self._given, self._shadowed
        self._ticket = None
        self._shadowing.line.ended(self)
        if error is not None:
            self._shadowing.failed(self, error)
        elif given is None or shadowed is None:
            self.over("failed")
        else:
            self._shadowing.compare(self, given, shadowed)

    def over(self, outcome: str) -> None:
        """Count it, and let go of what it holds. `outcome`: "" for none."""
        if self._over:
            return
        self._over = True
        counts = self._shadowing.counts
        counts.under_way -= 1
        if outcome:
            counts.outcomes[outcome] += 1
        self._shadowing._inflight.give(self._size)
        self._given = self._shadowed = None
        self.request.inputs.clear()


class _WatchedReply:
    """The reply to a client's request; what it gets is seen on its way."""

    __slots__ = ("_copy", "_reply", "_response")

    def __init__(self, reply: Reply, copy: _Copy) -> None:
        self._reply = reply
        self._copy = copy
        self._response: InferResponse | None = None

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Pass a response on."""
        self._response = response
        return self._reply.respond(response)

    def end(self, error: ServingError | None = None) -> None:
        """Pass the end on, and then begin the copy."""
        self._reply.end(error)
        if error is None and self._response is not None:
            self._copy.answered(self._response)
        else:
            self._copy.cancel()
        self._response = None


class _WatchedTicket:
    """The ticket of a client's request that has a copy."""

    __slots__ = ("_copy", "_ticket")

    def __init__(self, ticket: Ticket, copy: _Copy) -> None:
        self._ticket: Ticket | None = ticket
        self._copy = copy

    def give_up(self) -> None:
        """The client has left: if there is no answer yet, there will be none to compare with."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.give_up()
            self._copy.left()


def _kept(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Tensors that nobody writes to: of those that a model may write to, copies."""
    return {name: array.copy() if array.flags.writeable else array for name, array in inputs.items()}
