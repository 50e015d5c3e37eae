"""Copies of requests: when they are made and begun, what bounds them, and that nothing is left of any."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

import numpy as np
import pytest

from kserve_v2.config.release import Shadow
from kserve_v2.errors import InternalError, OverloadedError, ServingError, UnavailableError
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.copy_line import CopyLine
from kserve_v2.repository.routing.shadowing import ShadowCounts, Shadowing


class Ticket:
    given_up = False

    def give_up(self) -> None:
        self.given_up = True


class Version:
    """Stands for a loaded version and its target. What it is asked waits in `asked`, unless it `answers` at once."""

    name, down, leaving, spare = "m", "", False, True

    def __init__(self, version: int, answers: InferResponse | Exception | None = None) -> None:
        self.version = version
        self.target = self
        self.answers = answers
        self.asked: list[tuple[InferRequest, Any, Ticket]] = []

    def check(self, request: InferRequest) -> None:
        request.checked = True

    def submit(self, request: InferRequest, reply: Any) -> InferResponse | Ticket:
        if isinstance(self.answers, Exception):
            raise self.answers
        self.asked.append((request, reply, Ticket()))
        return self.asked[-1][2] if self.answers is None else self.answers


class Client:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def respond(self, response: InferResponse) -> None:
        self.events.append(response)

    def end(self, error: ServingError | None = None) -> None:
        self.events.append(error)


def response(value: float = 1, **outputs: Any) -> InferResponse:
    return InferResponse("m", "1", "", {"y": np.array([value], np.float32), **outputs})


def request(size: int = 4, version: str = "") -> InferRequest:
    return InferRequest("m", {"x": np.zeros(size, np.uint8)}, version, "id", {"p": 1}, ("y",))


class Scene:
    def __init__(
        self, first: Version, shadow: Version, limit: int = 1000, drawn: float = 0.5, **rules: Any
    ) -> None:
        self.first, self.shadow = first, shadow
        self.counts, self.inflight, self.line = ShadowCounts(), InflightBytes(limit), CopyLine()
        self.shadowing = Shadowing(
            cast(LoadedModel, first),
            cast(LoadedModel, shadow),
            Shadow(2, **rules),
            self.counts,
            self.inflight,
            self.line,
            lambda: drawn,
        )

    def ask(self, asked: InferRequest | None = None) -> tuple[Client, Any]:
        client = Client()
        return client, self.shadowing.submit(asked or request(), client)

    def is_over(self, **outcomes: int) -> None:
        """Nothing is under way, or held."""
        assert (self.counts.under_way, self.inflight.used) == (0, 0)
        assert {name: count for name, count in self.counts.outcomes.items() if count} == outcomes


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_it_begins_when_the_answer_is_given() -> None:
    async def test() -> None:
        scene = Scene(Version(1), Version(2))
        asked = request()
        client, ticket = scene.ask(asked)
        ((first, reply, inner),) = scene.first.asked
        assert first is asked
        # What is executed may write to its inputs: the copy is another array.
        first.inputs["x"][:] = 9
        await asyncio.sleep(0)
        assert scene.shadow.asked == []
        given = response()
        reply.respond(given)
        reply.end()
        assert client.events == [given, None]
        # Not in this turn of the loop, in which the answer is sent.
        assert scene.shadow.asked == []
        await asyncio.sleep(0)
        ((copy, of_copy, _),) = scene.shadow.asked
        assert (copy.model_version, copy.id, copy.parameters, copy.requested_outputs) == (
            "2",
            "id",
            {"p": 1},
            ("y",),
        )
        assert copy.inputs["x"].tolist() == [0, 0, 0, 0]
        # Whoever gives up what has ended ends nothing.
        ticket.give_up()
        assert inner.given_up
        assert scene.counts.under_way == 1
        of_copy.respond(response())
        of_copy.end()
        scene.is_over(equal=1)

    run(test)


def test_an_answer_at_once_is_passed_on() -> None:
    async def test() -> None:
        given = response()
        scene = Scene(Version(1, given), Version(2, response(2)))
        client, answered = scene.ask()
        assert (answered, client.events) == (given, [])
        assert scene.shadow.asked == []
        await asyncio.sleep(0)
        scene.is_over(different=1)
        assert (scene.counts.differing, scene.counts.largest) == ({"y": 1}, {"y": 1.0})

    run(test)


def test_without_an_answer_there_is_no_copy() -> None:
    async def test() -> None:
        scene = Scene(Version(1), Version(2))
        _, ticket = scene.ask()
        ticket.give_up()
        assert scene.first.asked[0][2].given_up
        scene.is_over()
        client, _ = scene.ask()
        scene.first.asked[1][1].end(InternalError("failed"))
        assert str(client.events) == "[InternalError('failed')]"
        scene.is_over()
        scene.first.answers = OverloadedError("full")
        with pytest.raises(OverloadedError, match="full"):
            scene.ask()
        await asyncio.sleep(0)
        scene.is_over()
        assert scene.shadow.asked == []

    run(test)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (UnavailableError("its queue is full"), "dropped"),
        (InternalError("boom"), "failed"),
        (ValueError("a defect"), "failed"),
        (response(y=np.array([object()], object)), "different"),
    ],
)
def test_what_goes_wrong_with_a_copy_is_counted(
    answer: Any, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        scene = Scene(Version(1, response()), Version(2, answer))
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                scene.ask()
                await asyncio.sleep(0)
        scene.is_over(**{outcome: 3})
        # Once in a while is enough.
        assert len(caplog.records) == (outcome != "dropped")

    run(test)


def test_what_cannot_be_compared_hurts_nobody() -> None:
    class Odd:
        dtype, shape, nbytes = np.dtype(np.float32), (1,), 4

        def __getattr__(self, name: str) -> Any:
            raise ValueError(name)

    async def test() -> None:
        scene = Scene(Version(1, response(y=Odd())), Version(2, response(y=Odd())))
        scene.ask()
        await asyncio.sleep(0)
        scene.is_over(failed=1)

    run(test)


def test_large_answers_are_compared_on_a_thread() -> None:
    async def test() -> None:
        large = np.zeros(100_000, np.float32)
        scene = Scene(Version(1, response(y=large)), Version(2, response(y=large + 1)))
        scene.ask()
        await asyncio.sleep(0)
        assert scene.counts.under_way == 1
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)
        scene.is_over(different=1)

    run(test)


def test_no_more_than_there_is_room_for() -> None:
    async def test() -> None:
        scene = Scene(Version(1), Version(2), limit=10, max_requests=2)
        scene.ask()
        scene.ask()
        assert scene.inflight.used == 8
        scene.ask()
        assert (scene.counts.under_way, scene.counts.outcomes["dropped"]) == (2, 1)
        for _, reply, _ in scene.first.asked:
            reply.end(InternalError("failed"))
        scene.ask(request(11))
        assert scene.counts.outcomes["dropped"] == 2
        # Nobody was refused for it.
        assert (len(scene.first.asked), scene.inflight.refused) == (4, 0)
        scene.shadow.down = "its process has died"
        scene.ask()
        scene.is_over(dropped=3)

    run(test)


def test_a_shadow_that_goes_meanwhile_is_not_asked() -> None:
    async def test() -> None:
        scene = Scene(Version(1, response()), Version(2))
        scene.ask()
        scene.shadow.leaving = True
        await asyncio.sleep(0)
        assert scene.shadow.asked == []
        scene.is_over(dropped=1)

    run(test)


@pytest.mark.parametrize(
    ("version", "rules", "copied"),
    [
        ("", {}, True),
        ("1", {}, False),
        ("PROD", {}, False),
        ("PROD", {"labels": ("PROD",)}, True),
        ("STG", {"labels": ("PROD",)}, False),
        ("", {"percent": 50.0}, False),
        ("", {"percent": 50.1}, True),
        ("", {"percent": 0.0}, False),
    ],
)
def test_which_requests_are_copied(version: str, rules: dict[str, Any], copied: bool) -> None:
    async def test() -> None:
        scene = Scene(Version(1), Version(2), **rules)
        scene.ask(request(version=version))
        assert scene.counts.under_way == copied

    run(test)


def test_copies_are_executed_one_at_a_time() -> None:
    async def test() -> None:
        scene = Scene(Version(1, response()), Version(2))
        for _ in range(3):
            scene.ask()
        await asyncio.sleep(0)
        for number in range(3):
            assert len(scene.shadow.asked) == number + 1
            _, reply, _ = scene.shadow.asked[number]
            reply.respond(response())
            reply.end()
            # Whoever asks in this turn of the loop comes first.
            assert len(scene.shadow.asked) == number + 1
            await asyncio.sleep(0)
        scene.is_over(equal=3)

    run(test)


def test_a_version_that_clients_keep_busy_gets_no_copies() -> None:
    async def test() -> None:
        scene = Scene(Version(1, response()), Version(2))
        scene.shadow.spare = False
        scene.ask()
        await asyncio.sleep(0)
        assert scene.shadow.asked == []
        scene.is_over(dropped=1)
        scene.shadow.spare = True
        for _ in range(4):
            scene.ask()
        await asyncio.sleep(0)
        ((_, reply, _),) = scene.shadow.asked
        # A client comes while one of them is executed: the others are not put before the next one.
        scene.shadow.spare = False
        reply.respond(response())
        reply.end()
        await asyncio.sleep(0)
        assert len(scene.shadow.asked) == 1
        scene.is_over(dropped=4, equal=1)

    run(test)


def test_a_copy_that_fails_makes_room_for_the_next_one() -> None:
    async def test() -> None:
        scene = Scene(Version(1, response()), Version(2))
        scene.ask()
        scene.ask()
        await asyncio.sleep(0)
        scene.shadow.asked[0][1].end(InternalError("boom"))
        scene.shadow.answers = InternalError("boom")
        await asyncio.sleep(0)
        scene.is_over(failed=2)

    run(test)


def test_at_the_end_of_the_server_copies_are_given_up() -> None:
    async def test() -> None:
        scene = Scene(Version(1, response()), Version(2))
        for _ in range(3):
            scene.ask()
        await asyncio.sleep(0)
        ((_, _, ticket),) = scene.shadow.asked
        scene.line.close()
        assert ticket.given_up
        scene.is_over(dropped=3)
        scene.ask()
        await asyncio.sleep(0)
        assert len(scene.shadow.asked) == 1
        scene.is_over(dropped=4)

    run(test)
