"""A request in the fast lane that takes more than one step; see `fast_lane`."""

import asyncio
from collections.abc import Callable

from kserve_v2.errors import ServingError, UnfinishedError
from kserve_v2.logs.log import Access, access_log_enabled, log_access
from kserve_v2.memory.inflight import COUNTED_BYTES, Share
from kserve_v2.net.answer_text import Parts
from kserve_v2.net.together import Together
from kserve_v2.rest.fast_lane import Demanded, Lane, Sliced, fail
from kserve_v2.rest.heads import Body, InferHead
from kserve_v2.rest.infer import Asked
from kserve_v2.scheduling.replies import Outcome
from kserve_v2.scheduling.slices import LARGE_BYTES


class FastCall:
    """One request in the fast lane that is not answered at once: its body comes in parts, or it is waited for.

    To uvicorn's protocol it is a request-response cycle, of which it knows the attributes named first.
    """

    __slots__ = (
        "_access", "_answer", "_asked", "_lane", "_parts", "_ready", "_refusal", "_share", "disconnected", "head",
        "keep_alive", "missing_bytes", "response_complete", "response_started",
    )  # fmt: skip

    # uvicorn sets it; nothing waits for it.
    message_event = asyncio.Event()

    def __init__(self, lane: Lane, answer: Callable[["FastCall", Parts], None], head: InferHead) -> None:
        """`answer` sends an answer, whole: with that the call is over."""
        self.response_started = self.response_complete = False
        self.disconnected = False
        self.keep_alive = head.keep_alive
        self.head = head
        self.missing_bytes = head.body_bytes
        self._lane = lane
        self._answer = answer
        self._parts: list[Body] = []
        # Of the bytes in flight: what has come of the body.
        self._share = Share(lane.inflight)
        self._refusal: ServingError | None = None
        self._asked: Asked | None = None
        self._ready: Parts | None = None
        self._access = (
            Access("rest", head.model_name, head.version, status=200) if access_log_enabled() else None
        )

    def __repr__(self) -> str:
        state = "complete" if self.response_complete else "waiting" if self._asked else "reading"
        return f"<FastCall {self.head.model_name} {state}>"

    def add_body(self, part: Body) -> None:
        """The next part of the request's body. If there is no room for it, the body is read to its end without being
        kept, and the request refused then: the client has its answer, and the connection.
        """
        self.missing_bytes -= len(part)
        if self._refusal is None and self.head.body_bytes >= COUNTED_BYTES:
            try:
                self._share.take(len(part))
            except ServingError as error:
                self._refusal = error
                self._share.give_back()
                self._parts.clear()
        if self._refusal is None:
            self._parts.append(part)

    def has_room(self) -> bool:
        """Whether there is room for the rest of the body."""
        return self._refusal is None and self._lane.inflight.has_room(self.missing_bytes)

    def hold(self, size: int) -> None:
        """Count `size` bytes of the body among those in flight. Raises as `InflightBytes.take`."""
        self._share.take(size - self._share.size)

    def take_parts(self) -> list[Body]:
        """What has come of the body, for somebody else to put together."""
        parts, self._parts = self._parts, []
        return parts

    def start(self) -> None:
        """The request is complete: answer it, at once or when the model has. Does not raise."""
        if self._refusal is not None:
            self._send(self._failure(self._refusal))
            return
        parts = self.take_parts()
        self.answer_body(parts[0] if len(parts) == 1 else b"".join(parts))

    def answer_body(self, body: Body) -> None:
        """As `start`, with a body that was put together elsewhere."""
        if len(body) >= LARGE_BYTES:
            sliced = self._lane.prepare(self.head, body, self._share, access=self._access)
            if sliced is not None:
                self.wait(sliced)
                return
        # From here on the queue counts its tensors, if they have to wait.
        self._share.give_back()
        self._go_on(self._lane.infer(self.head, body, access=self._access))

    def _go_on(self, found: Parts | Asked | Exception) -> None:
        if isinstance(found, Asked):
            self.wait(found)
        else:
            self._send(fail(found, self._access) if isinstance(found, Exception) else found)

    def wait(self, asked: Asked) -> None:
        """Answer a request that is under way when its outcome is there."""
        self._asked = asked
        asked.take = self._take
        if isinstance(asked, Demanded):
            asked.begin(self.answer_body)
        elif isinstance(asked, Sliced):
            asked.begin(self._go_on)

    def _take(self, outcome: Outcome) -> None:
        if isinstance(outcome, ServingError):
            self._send(self._failure(outcome))
        else:
            assert self._asked is not None  # noqa: S101 - it is what we wait for
            self._go_on(self._lane.succeed(outcome, self._asked, access=self._access))

    def _failure(self, error: ServingError) -> Parts:
        """The answer if the request comes to nothing, or its body was not taken."""
        return fail(error, self._access)

    def answer_at_end(self, together: Together, parts: Parts) -> None:
        """Send an answer that is there at the end of the turn, unless the request is over by then."""
        self._ready = parts
        together.at_end(self._answer_late, parts)

    def _answer_late(self, parts: Parts) -> None:
        if not self.response_complete:
            self._send(parts)

    def _send(self, parts: Parts) -> None:
        self._end()
        self._answer(self, parts)

    def _end(self) -> None:
        self.response_started = self.response_complete = True
        self._share.give_back()
        # The connection outlives the request, and must not keep its tensors alive.
        self._asked = self._ready = None
        if self._access is not None:
            log_access(self._access)

    def give_up(self) -> None:
        """The client has left: a request that has not begun is not executed, and nothing is answered."""
        self.disconnected = True
        self._share.give_back()
        self._give_up_asked()
        if self._access is not None and not self.response_complete:
            self._access.status = 499
            self._end()

    def discard(self, status: int) -> None:
        """Drop a request whose body is not complete. The connection answers it itself, with that status."""
        self.disconnected = True
        self._share.give_back()
        if self._access is not None:
            self._access.status = status
            self._end()

    def abandon(self) -> None:
        """The server's time to exit is up: fail if there is no answer yet."""
        if not self.response_complete:
            self._give_up_asked()
            self._send(self._unfinished() if self._ready is None else self._ready)

    def _unfinished(self) -> Parts:
        return self._failure(UnfinishedError("Server exiting: the request was not finished in time"))

    def _give_up_asked(self) -> None:
        if self._asked is not None:
            self._asked.give_up()
