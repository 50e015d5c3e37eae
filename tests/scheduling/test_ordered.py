"""`preserve_ordering`, with a target that finishes requests in any order, as several instances do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InternalError, ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.queueing.ordered import OrderedTarget
from kserve_v2.scheduling.target import Reply, Ticket


@dataclass
class Asked:
    """One request as the inner target has it: the test says what the model does with it."""

    reply: Reply
    given_up: bool = False
    ended: bool = False

    def give_up(self) -> None:
        self.given_up = True


@dataclass
class Inner:
    asked: list[Asked | None] = field(default_factory=list)
    at_once: bool = False
    depth = 0

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        if self.at_once:
            self.asked.append(None)
            return response(request.id)
        ticket = Asked(reply)
        self.asked.append(ticket)
        return ticket

    async def start(self) -> None: ...
    async def drain(self) -> None: ...
    def abandon(self, why: str = "") -> None: ...
    async def stop(self) -> None: ...


@dataclass
class Client:
    """Takes down what it is sent; `room` holds the model back."""

    name: str
    heard: list[tuple[str, str]]
    room: "asyncio.Future[bool] | None" = None
    on_hearing: Callable[[], object] | None = None

    def respond(self, response: InferResponse) -> "asyncio.Future[bool] | None":
        self.heard.append((self.name, response.id))
        told, self.on_hearing = self.on_hearing, None
        if told is not None:
            told()
        return self.room

    def end(self, error: ServingError | None = None) -> None:
        self.heard.append((self.name, "end" if error is None else str(error)))


def response(name: str) -> InferResponse:
    return InferResponse("m", "1", name, {})


class Line:
    """An ordered target, its clients, and what they have heard."""

    def __init__(self) -> None:
        self.inner = Inner()
        self.target = OrderedTarget(self.inner)
        self.heard: list[tuple[str, str]] = []
        self.tickets: list[InferResponse | Ticket] = []
        self.clients: list[Client] = []

    def ask(self, *, at_once: bool = False, room: "asyncio.Future[bool] | None" = None) -> None:
        self.inner.at_once = at_once
        name = str(len(self.tickets))
        request = InferRequest("m", {}, id=name)
        self.clients.append(Client(name, self.heard, room))
        self.tickets.append(self.target.submit(request, self.clients[-1]))

    def asked(self, number: int) -> Asked:
        found = self.inner.asked[number]
        assert found is not None
        return found

    def respond(self, number: int, text: str = "r") -> "asyncio.Future[bool] | None":
        return self.asked(number).reply.respond(response(text))

    def end(self, number: int, error: ServingError | None = None) -> None:
        asked = self.asked(number)
        asked.ended = True
        asked.reply.end(error)

    def give_up(self, number: int) -> None:
        ticket = self.tickets[number]
        assert not isinstance(ticket, InferResponse)
        ticket.give_up()


def test_a_later_answer_waits_for_an_earlier_one() -> None:
    async def main() -> None:
        line = Line()
        line.ask()
        line.ask()
        line.respond(1)
        line.end(1)
        assert line.heard == []
        line.respond(0)
        line.end(0)
        assert line.heard == [("0", "r"), ("0", "end"), ("1", "r"), ("1", "end")]

    asyncio.run(main())


def test_an_answer_that_is_there_at_once_keeps_its_place() -> None:
    async def main() -> None:
        line = Line()
        line.ask(at_once=True)
        assert isinstance(line.tickets[0], InferResponse)
        line.ask()
        line.ask(at_once=True)
        assert not isinstance(line.tickets[2], InferResponse)
        assert line.heard == []
        line.end(1, InternalError("failed"))
        assert line.heard == [("1", "failed"), ("2", "2"), ("2", "end")]
        line.ask(at_once=True)
        assert isinstance(line.tickets[3], InferResponse)

    asyncio.run(main())


def test_the_stream_at_the_head_flows_and_the_next_one_is_held_back() -> None:
    async def main() -> None:
        line = Line()
        room = asyncio.get_running_loop().create_future()
        line.ask()
        line.ask(room=room)
        assert line.respond(0, "a") is None
        held = line.respond(1, "x")
        assert held is not None
        assert line.respond(0, "b") is None
        assert line.heard == [("0", "a"), ("0", "b")]
        assert not held.done()
        line.end(0)
        assert line.heard[2:] == [("0", "end"), ("1", "x")]
        # It goes on when its own client has room.
        assert not held.done()
        room.set_result(True)
        assert await held
        assert line.respond(1, "y") is room

    asyncio.run(main())


def test_who_leaves_lets_the_next_one_pass_and_is_told_to_stop() -> None:
    async def main() -> None:
        line = Line()
        line.ask()
        line.ask()
        line.ask()
        held = line.respond(1, "x")
        line.respond(2, "y")
        line.give_up(1)
        assert held is not None
        assert held.result() is False
        assert line.asked(1).given_up
        line.give_up(0)
        line.give_up(0)
        assert line.heard == [("2", "y")]
        gone = line.respond(0, "late")
        assert gone is not None
        assert gone.result() is False

    asyncio.run(main())


def test_what_was_never_executed_is_told_at_once() -> None:
    """A time-out in the queue says nothing about the order of the model's answers."""

    async def main() -> None:
        line = Line()
        line.ask()
        line.ask()
        line.end(1, UnavailableError("Request timeout expired"))
        assert line.heard == [("1", "Request timeout expired")]
        line.respond(0)
        line.end(0)
        assert line.heard[1:] == [("0", "r"), ("0", "end")]

    asyncio.run(main())


def test_what_a_model_says_while_it_is_heard_comes_after_what_was_held_back() -> None:
    async def main() -> None:
        line = Line()
        line.ask()
        line.ask()
        line.respond(1, "x")
        line.respond(1, "y")
        client = line.clients[1]
        client.on_hearing = lambda: line.respond(1, "z")
        line.end(0)
        assert line.heard == [("0", "end"), ("1", "x"), ("1", "y"), ("1", "z")]

    asyncio.run(main())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_history(data: Any) -> None:
    """Whatever happens in whatever order: each client hears all of its own, once, in order, and after earlier ones."""

    async def main() -> None:
        line = Line()
        sent: dict[int, list[str]] = {}
        given_up: set[int] = set()
        refused: set[int] = set()
        for step in range(data.draw(st.integers(1, 40))):
            open_ = [n for n in sent if not line.asked(n).ended and n not in given_up]
            action = data.draw(st.sampled_from(["ask", "now", "respond", "end", "fail", "refuse", "leave"]))
            if action == "ask" or not open_:
                line.ask()
                sent[len(line.tickets) - 1] = []
                continue
            if action == "now":
                line.ask(at_once=True)
                continue
            number = data.draw(st.sampled_from(open_))
            text = str(step)
            if action == "respond":
                line.respond(number, text)
                sent[number].append(text)
            elif action == "leave":
                line.give_up(number)
                given_up.add(number)
            elif action == "end":
                line.end(number)
                sent[number].append("end")
            else:
                error = InternalError(text) if action == "fail" else UnavailableError(text)
                if action == "refuse" and not sent[number]:
                    refused.add(number)
                line.end(number, error)
                sent[number].append(text)
            # What the first in line says is heard at once.
            first = min((n for n in sent if not line.asked(n).ended and n not in given_up), default=None)
            if first is not None:
                assert [text for name, text in line.heard if name == str(first)] == sent[first]
        for number, texts in sent.items():
            if not line.asked(number).ended and number not in given_up:
                line.end(number)
                texts.append("end")
        for number, texts in sent.items():
            heard = [text for name, text in line.heard if name == str(number)]
            assert heard == texts[: len(heard)] if number in given_up else heard == texts
        order = [int(name) for name, _ in line.heard if int(name) not in refused]
        assert order == sorted(order)

    asyncio.run(main())
