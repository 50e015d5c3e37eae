"""`preserve_ordering`: responses leave in the order of their requests, whichever of them is ready first.

A model with this has one queue, and what waits there is never delayed: so requests leave it in the order in which they
were submitted. Several instances, or a cache, finish them in any order. Whoever is at the head is answered as the model
goes on; the responses of the others are held back, which holds their streams back, too.
"""

import asyncio
from collections import deque

from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.room import is_room, no_room
from kserve_v2.scheduling.target import Reply, Target, Ticket


class OrderedTarget:
    """A target around another one."""

    def __init__(self, inner: Target) -> None:
        self._inner = inner
        # Those that are under way, in the order of their requests.
        self._turns: deque[_Turn] = deque()

    def __repr__(self) -> str:
        return f"<OrderedTarget under_way={len(self._turns)} {self._inner!r}>"

    async def start(self) -> None:
        """Start what executes the requests."""
        await self._inner.start()

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Have a request answered. An answer that is there at once may have to wait for earlier ones."""
        turn = _Turn(self, reply)
        submitted = self._inner.submit(request, turn)
        if isinstance(submitted, InferResponse):
            if not self._turns:
                return submitted
            turn.respond(submitted)
            turn.end()
        else:
            turn.ticket = submitted
        self._turns.append(turn)
        return turn

    @property
    def depth(self) -> int:
        """How many requests wait for their execution."""
        return self._inner.depth

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._inner.drain()

    def abandon(self, why: str = "") -> None:
        """End whatever has not begun with an error."""
        self._inner.abandon(why)

    async def stop(self) -> None:
        """Finish what is there, and stop what executes it."""
        await self._inner.stop()

    def is_first(self, turn: "_Turn") -> bool:
        """Whether nobody is in front of it."""
        return bool(self._turns) and self._turns[0] is turn

    def advance(self) -> None:
        """Let go of those at the head that are over, and let the next one speak."""
        while self._turns:
            first = self._turns[0]
            if not first.over:
                first.speak()
            # What it says may have consequences: perhaps it is over by now, or somebody else has come this far.
            if self._turns and self._turns[0] is first:
                if not first.over:
                    return
                self._turns.popleft()


class _Turn:
    """One request: the reply that the inner target knows, and the ticket of the caller."""

    def __init__(self, line: OrderedTarget, reply: Reply) -> None:
        self.ticket: Ticket | None = None
        self.over = False
        self._line = line
        self._reply = reply
        self._loop = asyncio.get_running_loop()
        # What is held back: responses, each with whom it holds back, and the end.
        self._held: deque[tuple[InferResponse, asyncio.Future[bool]]] = deque()
        self._ended = False
        self._error: ServingError | None = None

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Pass a response on, or hold it back until the earlier requests have ended."""
        if self.over:
            return no_room()
        if not self._held and self._line.is_first(self):
            return self._reply.respond(response)
        room: asyncio.Future[bool] = self._loop.create_future()
        self._held.append((response, room))
        return room

    def end(self, error: ServingError | None = None) -> None:
        """Pass the end on, or hold it back. What was refused, or waited too long, was never executed: it has no turn to
        wait for.
        """
        if self.over or self._ended:
            return
        self._ended, self._error = True, error
        if isinstance(error, UnavailableError) and not self._held:
            self._finish()
        if self._line.is_first(self) or self.over:
            self._line.advance()

    def give_up(self) -> None:
        """The caller has left: let the next request have its turn."""
        if self.over:
            return
        self.over = True
        while self._held:
            self._held.popleft()[1].set_result(False)
        if self.ticket is not None:
            self.ticket.give_up()
        self._line.advance()

    def speak(self) -> None:
        """Pass on all that was held back: it is at the head."""
        while self._held and not self.over:
            response, room = self._held.popleft()
            _follow(self._reply.respond(response), room)
        if self._ended and not self.over:
            self._finish()

    def _finish(self) -> None:
        self.over = True
        self._reply.end(self._error)


def _follow(room: "asyncio.Future[bool] | None", waiting: "asyncio.Future[bool]") -> None:
    """Have `waiting` be done as `room` is."""
    if room is None:
        waiting.set_result(True)
        return

    def pass_on(done: "asyncio.Future[bool]") -> None:
        if not waiting.done():
            waiting.set_result(is_room(done))

    room.add_done_callback(pass_on)
