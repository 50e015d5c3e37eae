"""Whatever a plug-in raises, returns or does while it is executed: its own request fails with a text that says so; nothing
hangs, and others are answered.
"""

import asyncio
import ctypes
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import AnyInstance, ModelConfig, Placement
from kserve_v2.errors import InternalError, ServingError, UnavailableError
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.scheduling.executing.execution import BatchExecution
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import Outcome, infer, stream
from kserve_v2.scheduling.signature import ModelSignature
from tests.backends.hostile import ONCE_MORE, Act, Unasked, check_text, fine, raised, raising, run
from tests.scheduling.targets import queue_target, submit_to

pytestmark = [
    # Tasks and threads of the plug-in's own that it has ended in its way.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

CONFIG = """
    name: "m" max_batch_size: 8
    input { name: "x" data_type: TYPE_INT64 dims: [1] }
    output { name: "x" data_type: TYPE_INT64 dims: [1] }
"""
DECOUPLED = """
    name: "m" model_transaction_policy { decoupled: true }
    input { name: "x" data_type: TYPE_INT64 dims: [1] }
    output { name: "x" data_type: TYPE_INT64 dims: [1] }
"""

BAD = -1


class Acting:
    """Answers with the input; for a row of -1 it does what the test says, instead or before."""

    max_concurrency = 4

    def __init__(self, act: Act) -> None:
        self.act = act
        self.thread = 0

    def answer(self, tensors: Tensors) -> Any:
        self.thread = threading.get_ident()
        if (tensors["x"] == BAD).any():
            other = self.act()
            if other is not None:
                return other
        return {"x": tensors["x"].copy()}

    def close(self) -> None:
        pass


class Sync(Acting):
    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        return self.answer(tensors)  # type: ignore[no-any-return]


class Movable(Sync):
    movable = True


class Async(Acting):
    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        answer = self.answer(tensors)
        await asyncio.sleep(0)
        return answer  # type: ignore[no-any-return]


class Stream(Acting):
    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        yield {"x": np.array([0])}
        yield self.answer(tensors)


class StreamNext(Acting):
    """An iterator that is no generator, for which Python does not look after StopIteration."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        steps = iter([lambda: {"x": np.array([0])}, lambda: self.answer(tensors)])

        class Steps:
            def __iter__(self) -> Iterator[Tensors]:
                return self

            def __next__(self) -> Tensors:
                return next(steps)()

        return Steps()


class AsyncStream(Acting):
    async def stream_async(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[Tensors]:
        yield {"x": np.array([0])}
        answer = self.answer(tensors)
        await asyncio.sleep(0)
        yield answer


KINDS = {"sync": Sync, "async": Async, "stream": Stream, "iterator": StreamNext, "async stream": AsyncStream}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
whole = pytest.mark.parametrize("kind", [Sync, Async], ids=["sync", "async"])
streaming = pytest.mark.parametrize("kind", [Stream, AsyncStream], ids=["sync", "async"])


@dataclass
class OneModel:
    """A model of instances that the test makes."""

    made: Callable[[], Any]

    def instance(self, placement: Placement) -> AnyInstance:
        return self.made()  # type: ignore[no-any-return]

    def close(self) -> None:
        pass


@asynccontextmanager
async def scheduled(
    made: Callable[[], Any], *, streams: bool, rules: BatchRules = BatchRules(8)  # noqa: B008 - frozen
) -> AsyncIterator[QueueTarget]:  # fmt: skip
    """A scheduler of one instance, which stops when the test has ended, however that was."""
    signature = ModelSignature(text_format.Parse(DECOUPLED if streams else CONFIG, ModelConfig()))
    rules = ONE_AT_A_TIME if streams else rules
    scheduler = queue_target(signature, OneModel(made), rules, instances=["m_0_0"], decoupled=streams)
    await scheduler.start()
    yield scheduler
    await scheduler.drain()
    await scheduler.stop()


def decouples(kind: type[Acting]) -> bool:
    return kind not in (Sync, Movable, Async)


async def ask(scheduler: QueueTarget, value: int) -> list[int]:
    """The values of all responses. Raises the error of the request."""
    batched = not scheduler.spec.decoupled
    request = InferRequest("m", {"x": np.array([[value]] if batched else [value])}, checked=True)
    if batched:
        return [int((await infer(scheduler, request)).outputs["x"].item())]
    async with aclosing(stream(scheduler, request)) as answers:
        return [int(answer.outputs["x"].item()) async for answer in answers]


async def check_goes_on(scheduler: QueueTarget) -> None:
    """The instance answers, and to several at a time."""
    for value in (5, 6):
        assert (await ask(scheduler, value))[-1] == value
    answers = await asyncio.gather(*(ask(scheduler, value) for value in range(6)))
    assert [values[-1] for values in answers] == list(range(6))


async def check_fails(scheduler: QueueTarget) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await ask(scheduler, BAD)
    check_text(caught.value)
    return caught.value


ENDS_A_STREAM = {
    # What ends an iterator: it is not an error, wherever in the model it has come from.
    StreamNext: {"StopIteration"},
}


@raised
@kinds
def test_whatever_is_raised_while_a_model_is_executed(kind: type[Acting], name: str) -> None:
    async def main() -> None:
        async with scheduled(lambda: kind(raising(name)), streams=decouples(kind)) as scheduler:
            for _ in range(2):
                if name in ENDS_A_STREAM.get(kind, ()):
                    assert await ask(scheduler, BAD) == [0]
                else:
                    await check_fails(scheduler)
                await check_goes_on(scheduler)

    run(main)


@raised
def test_whatever_is_raised_in_place(name: str) -> None:
    async def main() -> None:
        async with scheduled(lambda: Movable(raising(name)), streams=False) as scheduler:
            assert not scheduler.spec.decoupled
            await check_goes_on(scheduler)
            quickness = scheduler._in_place._quickness
            quickness.execution_ns, quickness.limit_ns = 0.0, 1e18
            while not scheduler._queue.idle:  # noqa: ASYNC110 - an instance that falls asleep signals nobody
                await asyncio.sleep(0)
            request = InferRequest("m", {"x": np.array([[BAD]])}, checked=True)
            outcomes: list[Outcome] = []
            assert submit_to(scheduler, request, outcomes.append) is None
            assert isinstance(outcomes[0], ServingError)
            check_text(outcomes[0])
            await check_goes_on(scheduler)

    run(main)


@raised
@whole
def test_whatever_is_raised_by_one_of_a_batch_the_others_are_answered(kind: type[Acting], name: str) -> None:
    async def main() -> None:
        rules = BatchRules(4, max_delay_ns=30_000_000_000)
        async with scheduled(lambda: kind(raising(name)), streams=False, rules=rules) as scheduler:
            asked = [ask(scheduler, value) for value in (1, BAD, 2, 3)]
            first, error, *others = await asyncio.gather(*asked, return_exceptions=True)
        assert [first, *others] == [[1], [2], [3]]
        assert isinstance(error, ServingError)
        check_text(error)

    run(main)


def test_an_object_that_is_raised_again_and_again_does_not_grow() -> None:
    async def main() -> None:
        ONCE_MORE.__traceback__ = None
        async with scheduled(lambda: Sync(raising("the same object")), streams=False) as scheduler:
            errors = [await check_fails(scheduler) for _ in range(3)]
        assert len({id(error) for error in errors}) == 3

    run(main)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda: [np.zeros((1, 1), np.int64)], "ndarray"),
        (lambda: ({"x": np.zeros((1, 1), np.int64)},), "tuple"),
        (list, "0 answers to 1 requests"),
        (lambda: 3, "int"),
        (lambda: np.zeros((1, 1), np.int64), "ndarray"),
        (dict, "'x'"),
        (lambda: {"x": None}, "'x'"),
        (lambda: {"x": [[1]]}, "'x'"),
        (lambda: {"x": 1}, "'x'"),
        (lambda: {"x": np.array([[object()]], np.object_)}, "'x'"),
        (lambda: {"x": np.array([["text"]])}, "'x'"),
        (lambda: {"x": np.zeros((1, 1), np.dtype([("a", np.int64)]))}, "'x'"),
        (lambda: {"x": np.zeros((1, 1), "M8[s]")}, "'x'"),
        (lambda: {"x": np.zeros((1, 1), ">i8")}, "'x'"),
        (lambda: {"x": np.zeros((0, 1), np.int64)}, "'x'"),
        (lambda: {"x": np.zeros((1, 10**6), np.int64)}, "'x'"),
        (lambda: {"x": np.int64(3)}, "'x'"),
        (Unasked, "Unasked"),
        (lambda: {"x": Unasked()}, "'x'"),
    ],
)
@whole
def test_outputs_that_are_none(kind: type[Acting], given: Act, text: str) -> None:
    async def main() -> None:
        async with scheduled(lambda: kind(given), streams=False) as scheduler:
            error = await check_fails(scheduler)
            assert isinstance(error, InternalError)
            assert text in error.message
            await check_goes_on(scheduler)

    run(main)


@pytest.mark.parametrize("given", [lambda: 3, lambda: [1], lambda: {3: np.zeros(1)}, Unasked])
@pytest.mark.parametrize("kind", [Stream, StreamNext, AsyncStream])
def test_responses_that_are_none(kind: type[Acting], given: Act) -> None:
    async def main() -> None:
        async with scheduled(lambda: kind(given), streams=True) as scheduler:
            assert isinstance(await check_fails(scheduler), InternalError)
            await check_goes_on(scheduler)

    run(main)


@streaming
def test_none_is_no_end_of_a_stream(kind: type[Acting]) -> None:
    """It would be a stream that lacks its end, without anybody being told."""

    class Nothing(kind):  # type: ignore[valid-type, misc]
        def answer(self, tensors: Tensors) -> Any:
            return None if (tensors["x"] == BAD).any() else super().answer(tensors)

    async def main() -> None:
        async with scheduled(lambda: Nothing(fine), streams=True) as scheduler:
            assert "NoneType" in (await check_fails(scheduler)).message
            await check_goes_on(scheduler)

    run(main)


@pytest.mark.parametrize("given", [None, 3, [3]], ids=repr)
@pytest.mark.parametrize("method", ["stream", "stream_async"])
def test_streams_that_are_none(method: str, given: object) -> None:
    def made() -> Any:
        instance = Acting(fine)
        setattr(instance, method, lambda tensors, request: given)
        return instance

    async def main() -> None:
        async with scheduled(made, streams=True) as scheduler:
            for _ in range(3):
                await check_fails(scheduler)

    run(main)


@streaming
def test_a_generator_that_does_not_let_itself_be_closed(kind: type[Acting]) -> None:
    class Stubborn(Stream):
        def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
            while True:
                try:
                    yield {"x": tensors["x"].copy()}
                except GeneratorExit:
                    yield {"x": tensors["x"].copy()}

    class AsyncStubborn(AsyncStream):
        async def stream_async(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[Tensors]:
            while True:
                try:
                    yield {"x": tensors["x"].copy()}
                except GeneratorExit:
                    yield {"x": tensors["x"].copy()}

    async def main() -> None:
        made = Stubborn if kind is Stream else AsyncStubborn
        async with scheduled(lambda: made(fine), streams=True) as scheduler:
            assert scheduler.spec.decoupled
            for value in range(3):
                request = InferRequest("m", {"x": np.array([value])}, checked=True)
                async with aclosing(stream(scheduler, request)) as answers:
                    assert (await anext(answers)).outputs["x"].tolist() == [value]

    run(main)


class Canceller(Stream):
    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        request.cancelled = bool(tensors["x"][0] == BAD)
        yield from super().stream(tensors, request)


class AsyncCanceller(AsyncStream):
    async def stream_async(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[Tensors]:
        request.cancelled = bool(tensors["x"][0] == BAD)
        async for outputs in super().stream_async(tensors, request):
            yield outputs


@pytest.mark.parametrize("kind", [Canceller, AsyncCanceller])
def test_a_model_that_says_of_a_request_that_its_client_has_left(kind: type[Acting]) -> None:
    """It has not, and is told of the end."""

    async def main() -> None:
        async with scheduled(lambda: kind(fine), streams=True) as scheduler:
            await check_fails(scheduler)
            await check_goes_on(scheduler)

    run(main)


# --- the event loop of an async instance --------------------------------------------------------------------


def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


def stop_the_loop() -> None:
    asyncio.get_running_loop().stop()


def leave_a_task_that_exits() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    asyncio.get_running_loop().create_task(leave())


def call_soon_what_exits() -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().call_soon(leave)


def set_no_event_loop() -> None:
    asyncio.set_event_loop(None)


LOOPS: dict[str, Act] = {
    each.__name__: each
    for each in (
        cancel_itself, cancel_all, stop_the_loop, leave_a_task_that_exits, call_soon_what_exits, set_no_event_loop,
    )
}  # fmt: skip


@pytest.fixture
def collected() -> Iterator[None]:
    """What is left of tasks and loops is finalized here, and not in the midst of something else: asyncio reports tasks that
    were destroyed, and Python 3.11's reports do not bear being made while it parses code.
    """
    yield
    gc.collect()


loops = pytest.mark.usefixtures("collected")


@loops
@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("kind", [Async, AsyncStream], ids=["async", "async stream"])
def test_whatever_a_model_does_to_its_loop(kind: type[Acting], name: str) -> None:
    async def main() -> None:
        async with scheduled(lambda: kind(LOOPS[name]), streams=decouples(kind)) as scheduler:
            for _ in range(2):
                # Those beside it may be cancelled by it; all have an outcome.
                beside = [asyncio.create_task(ask(scheduler, value)) for value in range(3)]
                for task in (asyncio.create_task(ask(scheduler, BAD)), *beside):
                    (outcome,) = await asyncio.gather(task, return_exceptions=True)
                    assert isinstance(outcome, list | ServingError)
                await check_goes_on(scheduler)

    run(main)


def test_a_cancellation_that_comes_between_a_failed_batch_and_its_members() -> None:
    def act() -> None:
        cancel_itself()
        raise ValueError("after having cancelled itself")

    async def main() -> None:
        rules = BatchRules(3, max_delay_ns=30_000_000_000)
        async with scheduled(lambda: Async(act), streams=False, rules=rules) as scheduler:
            asked = [ask(scheduler, value) for value in (1, BAD, 2)]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(outcome, list | ServingError) for outcome in outcomes)
        assert isinstance(outcomes[1], ServingError)

    run(main)


@loops
@pytest.mark.parametrize("kind", [Async, AsyncStream], ids=["async", "async stream"])
def test_a_loop_that_is_closed_is_replaced(kind: type[Acting]) -> None:
    def close_the_loop() -> None:
        loop = asyncio.get_running_loop()

        original = loop.run_until_complete

        def run_until_complete(future: Any) -> Any:
            loop.run_until_complete = original  # type: ignore[method-assign]
            loop.close()
            return original(future)

        loop.run_until_complete = run_until_complete  # type: ignore[method-assign]
        loop.stop()

    async def main() -> None:
        async with scheduled(lambda: kind(close_the_loop), streams=decouples(kind)) as scheduler:
            await check_fails(scheduler)
            await check_goes_on(scheduler)

    run(main)


@loops
@pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_task_factory_that_fails() -> None:
    def act() -> None:
        def factory(*args: object, **kwargs: object) -> Any:
            raise SystemExit(4)

        asyncio.get_running_loop().set_task_factory(factory)

    async def main() -> None:
        async with scheduled(lambda: Async(act), streams=False) as scheduler:
            await asyncio.gather(ask(scheduler, BAD), return_exceptions=True)
            for _ in range(2):
                with pytest.raises(ServingError):
                    await ask(scheduler, 1)

    run(main)


# --- threads ------------------------------------------------------------------------------------------------


def interrupt(thread: int) -> None:
    """Raise an exception in another thread, at its next line of Python."""
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_exception(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)) == 1


@pytest.mark.parametrize("kind", [Sync, Stream], ids=["sync", "stream"])
def test_an_instance_that_is_interrupted_while_it_sleeps(kind: type[Acting]) -> None:
    async def main() -> None:
        made: list[Acting] = []

        def make() -> Acting:
            made.append(kind(fine))
            return made[-1]

        async with scheduled(make, streams=decouples(kind)) as scheduler:
            await check_goes_on(scheduler)
            for value in range(5):
                interrupt(made[0].thread)
                (outcome,) = await asyncio.gather(ask(scheduler, value), return_exceptions=True)
                assert isinstance(outcome, list | ServingError)
            await check_goes_on(scheduler)

    run(main)


def test_when_the_last_instance_is_lost_requests_are_refused_and_none_waits() -> None:
    async def main() -> None:
        async with scheduled(lambda: Sync(fine), streams=False) as scheduler:
            await check_goes_on(scheduler)
            while not scheduler._queue.idle:  # noqa: ASYNC110 - an instance that falls asleep signals nobody
                await asyncio.sleep(0)

            def broken(slot: int) -> None:
                raise RuntimeError("cannot be taken from")

            scheduler._queue.take = broken  # type: ignore[method-assign, assignment]
            # Already under way to the queue that works.
            assert await ask(scheduler, 1) == [1]
            with pytest.raises(
                UnavailableError, match="model 'm' has lost all of its instances: load it again"
            ):
                while True:
                    await ask(scheduler, 2)

    run(main)


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "BaseException", "no text", "huge text"])
def test_a_thread_of_the_model_s_own_that_dies(name: str) -> None:
    def act() -> None:
        thread = threading.Thread(target=raising(name))
        thread.start()
        thread.join()

    async def main() -> None:
        async with scheduled(lambda: Sync(act), streams=False) as scheduler:
            assert await ask(scheduler, BAD) == [BAD]
            await check_goes_on(scheduler)

    run(main)


def test_the_outcome_of_a_request_is_told_whatever_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the scheduler's own must not leave a client without an answer."""

    async def main() -> None:
        async with scheduled(lambda: Sync(fine), streams=False) as scheduler:

            def defective(*args: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr(BatchExecution, "_settle_outputs", defective)
            with pytest.raises(InternalError, match="ZeroDivisionError"):
                await ask(scheduler, 1)

    run(main)
