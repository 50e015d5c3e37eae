"""Calls from other threads and event loops: what is waited for, what is given up, and that nobody waits for ever."""

import asyncio
import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import (
    InternalError,
    NotFoundError,
    OverloadedError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
)
from kserve_v2.messages import CallingModel, InferRequest, InferResponse, ParameterValue, SequenceStep
from kserve_v2.scheduling.calling.calls import Calls, inherit
from kserve_v2.scheduling.calling.thread_caller import ThreadCaller
from kserve_v2.scheduling.calling.waits import ModelVersion
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.target import Reply

CALLER = ModelVersion("caller", 1)
ANSWER = InferResponse("callee", "1", "", {"y": np.array([1])})


@dataclass
class Asked:
    """One request to the other model: the test answers it. `given_up`: set when the caller has left."""

    request: InferRequest
    reply: Reply
    given_up: threading.Event = field(default_factory=threading.Event)

    def give_up(self) -> None:
        self.given_up.set()


class Callee:
    """The other model, without instances."""

    name = "callee"
    version = 1
    signature = ModelSignature(text_format.Parse('name: "callee"', ModelConfig()))
    decoupled = False
    labels: Mapping[str, tuple[str, ...]] = {}

    def __init__(self) -> None:
        self.asked: concurrent.futures.Future[Asked] = concurrent.futures.Future()
        self.outcome: InferResponse | ServingError | None = None

    def answering(self, request: InferRequest) -> "Callee":
        if request.model_name != self.name:
            raise NotFoundError(f"Request for unknown model: '{request.model_name}' is not found")
        return self

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Asked:
        if isinstance(self.outcome, ServingError):
            raise self.outcome
        if self.outcome is not None:
            return self.outcome
        asked = Asked(request, reply)
        self.asked.set_result(asked)
        return asked

    def lease(self) -> Any:
        raise NotImplementedError


class Server:
    """An event loop on a thread of its own, and what lives there."""

    def __init__(self) -> None:
        self.callee = Callee()
        self.calls = Calls(self.callee)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.caller = self.do(lambda: ThreadCaller(self.calls, CALLER))

    def do(self, function: Callable[[], Any]) -> Any:
        """Call a function on the loop."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(60)

    def close(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield pool


def request(name: str = "callee") -> InferRequest:
    return InferRequest(name, {})


def outer(**fields: Any) -> InferRequest:
    return InferRequest("caller", {}, **fields)


class TestOneAnswer:
    def test_an_answer_that_is_there_at_once(self, server: Server) -> None:
        server.callee.outcome = ANSWER
        assert server.caller.call(request(), [outer()]) is ANSWER
        assert not server.calls.under_way

    def test_an_answer_that_comes_later(self, server: Server, pool: Any) -> None:
        answer = pool.submit(server.caller.call, request(), [outer()])
        asked = server.callee.asked.result(60)
        server.do(lambda: (asked.reply.respond(ANSWER), asked.reply.end()))
        assert answer.result(60) is ANSWER
        assert not server.calls.under_way

    def test_an_event_loop_of_the_caller_s_goes_on_meanwhile(self, server: Server) -> None:
        async def main() -> InferResponse:
            call = asyncio.create_task(server.caller.call_async(request(), [outer()]))
            asked = await asyncio.wrap_future(server.callee.asked)
            server.loop.call_soon_threadsafe(asked.reply.respond, ANSWER)
            return await call

        assert asyncio.run(main()) is ANSWER

    @pytest.mark.parametrize("error", [OverloadedError("full"), InternalError("broken")])
    def test_an_error_is_made_anew(self, server: Server, pool: Any, error: ServingError) -> None:
        call = pool.submit(server.caller.call, request(), [outer()])
        asked = server.callee.asked.result(60)
        server.do(lambda: asked.reply.end(error))
        raised = call.exception(20)
        assert type(raised) is type(error)
        assert raised is not error
        assert raised.message == error.message

    def test_a_model_that_ends_without_an_answer(self, server: Server, pool: Any) -> None:
        call = pool.submit(server.caller.call, request(), [outer()])
        asked = server.callee.asked.result(60)
        server.do(asked.reply.end)
        assert isinstance(call.exception(20), InternalError)

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (OverloadedError("no room"), "Model callee - Error when running inference: no room"),
            (InternalError("executed at once, and failed"), "executed at once, and failed"),
        ],
    )
    def test_an_error_at_once(self, server: Server, error: ServingError, text: str) -> None:
        server.callee.outcome = error
        with pytest.raises(type(error)) as caught:
            server.caller.call(request(), [outer()])
        assert caught.value.message == text
        assert not server.calls.under_way

    def test_a_call_on_a_thread_with_an_event_loop_is_refused(self, server: Server) -> None:
        server.callee.outcome = ANSWER
        for method, instead in (("call", "call_async"), ("stream", "stream_async")):

            def call(method: str = method) -> None:
                result = getattr(server.caller, method)(request(), [outer()])
                if method == "stream":
                    next(result)

            # Also the server's own, where a model is executed in place: it would wait for itself.
            with pytest.raises(InternalError, match=instead):
                server.do(call)


def ask(caller: ThreadCaller, how: str, tensors: dict[str, Any]) -> None:
    """One call with these tensors, for a request that has them, too. What it raises is handled."""
    call, served = InferRequest("callee", tensors), [InferRequest("caller", tensors)]

    async def main() -> None:
        # Handled in here: a task that fails, and what has run it, hold each other.
        try:
            if how == "call_async":
                await caller.call_async(call, served)
            else:
                async for _ in caller.stream_async(call, served):
                    pass
        except InternalError:
            pass

    if how.endswith("_async"):
        asyncio.run(main())
        return
    try:
        if how == "call":
            caller.call(call, served)
        else:
            list(caller.stream(call, served))
    except InternalError:
        pass


@pytest.mark.parametrize("how", ["call", "call_async", "stream", "stream_async"])
@pytest.mark.parametrize("outcome", [ANSWER, InternalError("broken")])
def test_what_is_over_leaves_no_tensors_to_the_garbage_collector(
    server: Server, how: str, outcome: InferResponse | ServingError
) -> None:
    server.callee.outcome = outcome
    lent = np.ones(1)
    seen = weakref.ref(lent)
    gc.collect()
    gc.disable()
    try:
        ask(server.caller, how, {"x": lent})
        server.callee.outcome = None
        if isinstance(outcome, ServingError):
            outcome.__traceback__ = None
        # What the loop has called last is gone when it has called something else.
        server.do(lambda: None)
        server.do(lambda: None)
        del lent
        assert seen() is None
    finally:
        gc.enable()


class TestLeaving:
    def test_a_call_is_given_up_when_all_that_it_serves_have_left(self, server: Server, pool: Any) -> None:
        first, second = outer(), outer()
        call = pool.submit(server.caller.call, request(), [first, second])
        asked = server.callee.asked.result(60)
        server.do(first.cancel)
        assert not asked.given_up.is_set()
        server.do(second.cancel)
        assert asked.given_up.is_set()
        assert isinstance(call.exception(20), RequestCancelledError)
        assert not server.calls.under_way
        # What comes now is nobody's.
        server.do(lambda: (asked.reply.respond(ANSWER), asked.reply.end()))

    def test_stand_ins_of_sequences_wait_for_nothing(self, server: Server, pool: Any) -> None:
        stand_in, real = outer(sequence=SequenceStep(7, ready=False)), outer(sequence=SequenceStep(8))
        call = pool.submit(server.caller.call, request(), [stand_in, real])
        asked = server.callee.asked.result(60)
        assert asked.request.callers[-1].execution == id(real)
        server.do(real.cancel)
        assert asked.given_up.is_set()
        assert isinstance(call.exception(20), RequestCancelledError)

    def test_what_nobody_waits_for_is_not_even_called(self, server: Server) -> None:
        left = outer(cancelled=True)
        with pytest.raises(RequestCancelledError):
            server.caller.call(request(), [left])
        assert not server.callee.asked.done()

    def test_a_task_that_is_cancelled_gives_its_call_up(self, server: Server) -> None:
        async def main() -> Asked:
            call = asyncio.create_task(server.caller.call_async(request(), [outer()]))
            asked = await asyncio.wrap_future(server.callee.asked)
            call.cancel()
            await asyncio.wait([call])
            return asked

        assert asyncio.run(main()).given_up.wait(60)
        server.do(lambda: None)
        assert not server.calls.under_way

    def test_a_request_that_leaves_later_is_not_kept(self, server: Server) -> None:
        server.callee.outcome = ANSWER
        served = outer()
        server.caller.call(request(), [served])
        assert served.calls == set()


class TestTheServersEnd:
    def test_who_waits_is_told(self, server: Server, pool: Any) -> None:
        call = pool.submit(server.caller.call, request(), [outer()])
        asked = server.callee.asked.result(60)
        server.do(server.calls.abandon)
        assert isinstance(call.exception(20), UnavailableError)
        assert asked.given_up.is_set()

    def test_who_waits_for_a_stream_is_told(self, server: Server, pool: Any) -> None:
        responses = server.caller.stream(request(), [outer()])
        call = pool.submit(next, responses)
        asked = server.callee.asked.result(60)
        server.do(server.calls.abandon)
        assert isinstance(call.exception(20), UnavailableError)
        assert asked.given_up.is_set()

    def test_nothing_is_called_any_more(self, server: Server) -> None:
        server.callee.outcome = ANSWER
        server.do(server.calls.abandon)
        with pytest.raises(UnavailableError, match="Server exiting"):
            server.caller.call(request(), [outer()])
        with pytest.raises(UnavailableError, match="Server exiting"):
            next(server.caller.stream(request(), [outer()]))

    def test_nor_when_the_loop_is_gone(self, server: Server) -> None:
        server.close()
        with pytest.raises(UnavailableError, match="Server exiting"):
            server.caller.call(request(), [outer()])
        with pytest.raises(UnavailableError, match="Server exiting"):
            next(server.caller.stream(request(), [outer()]))
        with pytest.raises(UnavailableError, match="Server exiting"):
            asyncio.run(server.caller.call_async(request(), [outer()]))


class TestStreams:
    def respond(self, server: Server, asked: Asked) -> "asyncio.Future[bool]":
        room: asyncio.Future[bool] = server.do(lambda: asked.reply.respond(ANSWER))
        return room

    def test_the_model_goes_on_when_its_response_was_taken(self, server: Server, pool: Any) -> None:
        responses = server.caller.stream(request(), [outer()])
        first = pool.submit(next, responses)
        asked = server.callee.asked.result(60)
        taken = self.respond(server, asked)
        assert first.result(60) is ANSWER
        assert server.do(taken.result) is True
        waiting = self.respond(server, asked)
        assert not waiting.done()
        server.do(asked.reply.end)
        assert list(responses) == [ANSWER]

    def test_closing_it_gives_up_what_is_left(self, server: Server, pool: Any) -> None:
        responses = server.caller.stream(request(), [outer()])
        first = pool.submit(next, responses)
        asked = server.callee.asked.result(60)
        self.respond(server, asked)
        first.result(60)
        waiting = self.respond(server, asked)
        responses.close()
        assert asked.given_up.wait(60)
        assert server.do(waiting.result) is False

    def test_one_that_is_never_read_is_never_begun(self, server: Server) -> None:
        responses = server.caller.stream(request(), [outer()])
        responses.close()
        server.do(lambda: None)
        assert not server.callee.asked.done()

    def test_when_the_client_leaves_nothing_more_is_taken(self, server: Server, pool: Any) -> None:
        served = outer()
        responses = server.caller.stream(request(), [served])
        first = pool.submit(next, responses)
        asked = server.callee.asked.result(60)
        self.respond(server, asked)
        first.result(60)
        waiting = self.respond(server, asked)
        server.do(served.cancel)
        # The model is not held up by a handler that does not look.
        assert server.do(waiting.result) is False
        with pytest.raises(RequestCancelledError):
            next(responses)

    def test_a_task_that_is_cancelled_gives_its_stream_up(self, server: Server) -> None:
        async def read() -> None:
            async for _ in server.caller.stream_async(request(), [outer()]):
                pass

        async def main() -> Asked:
            reader = asyncio.create_task(read())
            asked = await asyncio.wrap_future(server.callee.asked)
            reader.cancel()
            await asyncio.wait([reader])
            return asked

        assert asyncio.run(main()).given_up.wait(60)


@pytest.mark.parametrize(
    ("controls", "own", "expected"),
    [
        ([{}], {}, {}),
        ([{"priority": 3, "timeout": 9, "sequence_id": 7}], {}, {"priority": 3, "timeout": 9}),
        ([{"priority": 3}, {"priority": 2}, {}], {}, {"priority": 2}),
        ([{"priority": 0}, {"priority": 5}], {}, {"priority": 5}),
        ([{"timeout": 9}, {"timeout": 4}], {}, {"timeout": 9}),
        ([{"timeout": 9}, {}], {}, {}),
        ([{"timeout": 9}, {"timeout": 0}], {}, {}),
        ([{"priority": 3, "timeout": 9}], {"priority": 0, "timeout": 1}, {"priority": 0, "timeout": 1}),
        ([], {}, {}),
    ],
)
def test_what_a_call_inherits(
    controls: list[dict[str, ParameterValue]],
    own: dict[str, ParameterValue],
    expected: dict[str, ParameterValue],
) -> None:
    call = InferRequest("callee", {}, control=own)
    inherit(call, [outer(control=each) for each in controls], CALLER)
    assert call.control == expected


def test_who_waits_for_a_call_is_everybody_who_waits_for_what_it_serves() -> None:
    top, left, right = CallingModel("top", 1, 1), CallingModel("left", 1, 2), CallingModel("right", 1, 3)
    served = [outer(callers=(top, left), id="a"), outer(callers=(top, right), id="b"), outer()]
    call = request()
    inherit(call, served, CALLER)
    assert call.callers == (top, left, right, CallingModel("caller", 1, id(served[0])))
    assert call.id == ""
