"""Instances that answer each request of a batch by itself: an exception among the answers is one request's outcome, the
others get theirs, and nothing is executed twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import AnyInstance, ModelConfig, Placement
from kserve_v2.config import parse_config
from kserve_v2.errors import (
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
)
from kserve_v2.messages import InferRequest, InferResponse, SequenceStep, Tensors
from kserve_v2.scheduling.executing.execution import BatchExecution
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.merging.choice import make_merger
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.merging.separate import SeparateMerger
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import Outcome, infer
from kserve_v2.scheduling.sequences.rounds import RoundExecution, goes_on
from kserve_v2.scheduling.sequences.rules import sequence_rules
from kserve_v2.scheduling.sequences.states import StateTensor, zeros
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason, FailureReason
from kserve_v2.tensors.datatypes import INT32, Array
from kserve_v2.tracing.trace import Trace
from tests.backends.hostile import RAISED, check_text
from tests.scheduling.targets import queue_target, submit_to

CONFIG = """
    name: "m" max_batch_size: 4
    input { name: "x" data_type: TYPE_INT64 dims: [1] }
    output { name: "y" data_type: TYPE_INT64 dims: [1] }
"""


class Model:
    """Answers 10 times the input, to each request by itself; what `failing` says of a value goes in place of its answer.
    `executed`: how often each value was. `separate`: the tensors come apart, too.
    """

    def __init__(self, failing: dict[int, Any], *, separate: bool = True, fresh: bool = False) -> None:
        self.failing = failing
        self.separates_requests = separate
        self.fresh_outputs = fresh
        self.executed: list[int] = []
        self.batches: list[int] = []

    def instance(self, placement: Placement) -> AnyInstance:
        return self  # type: ignore[return-value]

    def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        if self.separates_requests:
            values = [int(each["x"][0, 0]) for each in tensors]
        else:
            starts = np.cumsum([0, *(request.rows for request in requests)])[:-1]
            values = [int(tensors["x"][start, 0]) for start in starts]
        self.batches.append(len(requests))
        self.executed += values
        for value, request in zip(values, requests, strict=True):
            request.response_parameters["value"] = value
        return [
            self.failing.get(value, {"y": request.inputs["x"] * 10})
            for value, request in zip(values, requests, strict=True)
        ]

    def close(self) -> None:
        pass


class AsyncModel(Model):
    max_concurrency = 4

    def instance(self, placement: Placement) -> AnyInstance:
        return _Async(self)


class _Async:
    max_concurrency = 4

    def __init__(self, model: Model) -> None:
        self.model = model

    async def execute_async(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        await asyncio.sleep(0)
        return self.model.execute(tensors, requests)

    def close(self) -> None:
        pass


def signature() -> ModelSignature:
    return ModelSignature(text_format.Parse(CONFIG, ModelConfig()))


FULL = BatchRules(4, max_delay_ns=30_000_000_000)


@asynccontextmanager
async def scheduled(model: Model, rules: BatchRules = FULL) -> AsyncIterator[QueueTarget]:
    made = signature()
    merger = SeparateMerger(made) if model.separates_requests else RowMerger(made)
    scheduler = queue_target(made, model, rules, instances=["m_0_0"], merger=merger)
    await scheduler.start()
    yield scheduler
    await scheduler.drain()
    await scheduler.stop()


def request(*values: int, **fields: Any) -> InferRequest:
    made = InferRequest("m", {"x": np.array(values)[:, None]}, id=f"id{values[0]}", **fields)
    checking = signature()
    checking.takes_large_requests = True
    made.rows, made.batch_key = checking.check(made)
    made.checked = True
    return made


async def outcomes_of(scheduler: QueueTarget, *requests: InferRequest) -> list[Any]:
    return await asyncio.gather(*(infer(scheduler, each) for each in requests), return_exceptions=True)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


kinds = pytest.mark.parametrize("kind", [Model, AsyncModel], ids=["sync", "async"])
ways = pytest.mark.parametrize("separate", [True, False], ids=["separate", "merged"])


@ways
@kinds
@pytest.mark.parametrize("fresh", [True, False])
def test_each_failure_is_one_request_s(kind: type[Model], separate: bool, fresh: bool) -> None:
    async def main() -> None:
        model = kind(
            {1: NotFoundError("no such user"), 3: ValueError("poison")}, separate=separate, fresh=fresh
        )
        async with scheduled(model) as scheduler:
            first, known, *_, last = await outcomes_of(scheduler, *map(request, range(4)))
            after = await outcomes_of(scheduler, *map(request, range(4, 8)))
        assert (first.outputs["y"].tolist(), first.parameters) == ([[0]], {"value": 0})
        assert (type(known), known.message) == (NotFoundError, "no such user")
        assert type(last) is InternalError
        assert last.message == (
            "Failed to process the request(s) for model 'm_0_0', message: ValueError: poison "
            "(request_id=id3 in the server's log)"
        )
        assert [answer.outputs["y"].item() for answer in after] == [40, 50, 60, 70]
        # Nothing is executed again.
        assert (sorted(model.executed), model.batches) == ([*range(8)], [4, 4])
        counted = scheduler.spec.statistics
        assert (counted.success_count, counted.inference_count, counted.execution_count) == (6, 6, 2)
        assert {rows: batch.count for rows, batch in counted.batches.items()} == {4: 2}
        assert (counted.fail.count, counted.failures[FailureReason.BACKEND]) == (2, 2)
        assert sum(counted.waited.counts) == 6
        assert counted.success_ns >= counted.queue_ns + counted.compute_infer_ns

    run(main)


@ways
def test_rows_of_requests_that_fail_are_no_inferences(separate: bool) -> None:
    async def main() -> None:
        model = Model({5: InvalidArgumentError("no")}, separate=separate)
        async with scheduled(model) as scheduler:
            bad, good = await outcomes_of(scheduler, request(5, 6, 7), request(8))
        assert str(bad) == "no"
        assert good.outputs["y"].tolist() == [[80]]
        counted = scheduler.spec.statistics
        assert (counted.success_count, counted.inference_count, counted.execution_count) == (1, 1, 1)
        assert [*counted.batches] == [4]

    run(main)


@ways
def test_where_all_fail_there_was_no_success(separate: bool) -> None:
    async def main() -> None:
        model = Model(dict.fromkeys(range(4), UnavailableError("later")), separate=separate)
        async with scheduled(model) as scheduler:
            found = await outcomes_of(scheduler, *map(request, range(4)))
        assert [(type(each), str(each)) for each in found] == [(UnavailableError, "later")] * 4
        # One object was given for all; each has an error of its own.
        assert len({id(each) for each in found}) == 4
        counted = scheduler.spec.statistics
        assert (counted.success_count, counted.execution_count, counted.last_inference_ms) == (0, 0, 0)
        assert (counted.fail.count, counted.batches) == (4, {})

    run(main)


@ways
@pytest.mark.parametrize("name", sorted(RAISED))
def test_whatever_is_given_in_the_place_of_an_answer(name: str, separate: bool) -> None:
    async def main() -> None:
        async with scheduled(Model({1: RAISED[name]()}, separate=separate)) as scheduler:
            first, error, *others = await outcomes_of(scheduler, *map(request, range(4)))
        assert [each.outputs["y"].item() for each in (first, *others)] == [0, 20, 30]
        assert isinstance(error, ServingError)
        check_text(error)

    run(main)


@ways
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "gave NoneType, expected a dict of ['y']"),
        (ValueError, "gave type, expected a dict of ['y']"),
        ({}, "gave no output 'y', got []"),
        ({"y": np.zeros((2, 1), np.int64)}, "has shape [2, 1], expected a batch of 1 in its first dimension"),
        ({"y": np.zeros((1, 1), np.float32)}, "has data-type FP32, but the model's configuration says INT64"),
    ],
)
def test_an_answer_that_does_not_fit_is_one_request_s_failure(answer: Any, text: str, separate: bool) -> None:
    async def main() -> None:
        async with scheduled(Model({1: answer}, separate=separate)) as scheduler:
            first, error, *others = await outcomes_of(scheduler, *map(request, range(4)))
        assert [each.outputs["y"].item() for each in (first, *others)] == [0, 20, 30]
        assert isinstance(error, InternalError)
        assert text in error.message

    run(main)


@ways
@pytest.mark.parametrize("name", ["value", "of 70 bits"])
def test_a_parameter_that_cannot_be_sent_is_one_request_s_failure(name: str, separate: bool) -> None:
    class Talkative(Model):
        def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
            answers = super().execute(tensors, requests)
            requests[1].response_parameters[name] = 2**70
            return answers

    async def main() -> None:
        async with scheduled(Talkative({}, separate=separate)) as scheduler:
            first, error, *others = await outcomes_of(scheduler, *map(request, range(4)))
        assert [each.outputs["y"].item() for each in (first, *others)] == [0, 20, 30]
        assert isinstance(error, InternalError)
        assert name in error.message

    run(main)


@pytest.mark.parametrize("count", [0, 1, 3])
@ways
def test_another_number_of_answers_is_nobody_s(count: int, separate: bool) -> None:
    """Whose they are cannot be known: each request is executed again by itself."""

    class Uncounting(Model):
        def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
            answers = super().execute(tensors, requests)
            return answers[:count] if len(answers) > 1 else answers

    async def main() -> None:
        model = Uncounting({}, separate=separate)
        async with scheduled(model) as scheduler:
            found = await outcomes_of(scheduler, *map(request, range(4)))
        assert [each.outputs["y"].item() for each in found] == [0, 10, 20, 30]
        assert model.batches == [4, 1, 1, 1, 1]

    run(main)


def test_who_has_left_is_not_told() -> None:
    async def main() -> None:
        failing = {1: ValueError("poison"), 2: RequestCancelledError("the client has left")}
        told: list[list[Outcome]] = [[] for _ in range(4)]
        model = Model(failing)
        made = model.execute
        async with scheduled(model) as scheduler:
            tickets = [submit_to(scheduler, request(n), told[n].append) for n in range(3)]

            def leaving(tensors: Any, requests: Sequence[InferRequest]) -> Any:
                loop.call_soon_threadsafe(tickets[1].give_up)  # type: ignore[union-attr]
                return made(tensors, requests)

            loop, model.execute = asyncio.get_running_loop(), leaving  # type: ignore[method-assign]
            submit_to(scheduler, request(3), told[3].append)
            await scheduler.drain()
        assert [len(outcomes) for outcomes in told] == [1, 0, 1, 1]
        assert isinstance(told[2][0], RequestCancelledError)
        counted = scheduler.spec.statistics
        assert counted.success_count == 2
        assert [counted.failures[reason] for reason in (FailureReason.CANCELED, FailureReason.BACKEND)] == [
            1,
            1,
        ]

    run(main)


@ways
def test_a_part_that_fails_is_the_failure_of_the_whole(separate: bool) -> None:
    async def main() -> None:
        model = Model({4: InvalidArgumentError("poison")}, separate=separate)
        async with scheduled(model, BatchRules(4)) as scheduler:
            scheduler.spec.signature.takes_large_requests = True
            scheduler.splits_large_requests = True
            (bad,) = await outcomes_of(scheduler, request(*range(10)))
            (good,) = await outcomes_of(scheduler, request(*range(10, 20)))
        assert (type(bad), bad.message) == (InvalidArgumentError, "poison")
        assert good.outputs["y"].ravel().tolist() == [*range(100, 200, 10)]
        counted = scheduler.spec.statistics
        assert (counted.success_count, counted.fail.count) == (1, 1)

    run(main)


def test_traces_say_what_became_of_each() -> None:
    async def main() -> None:
        traces = [Trace(number, "m") for number in range(2)]
        async with scheduled(
            Model({1: ValueError("poison")}), BatchRules(2, max_delay_ns=30_000_000_000)
        ) as target:
            await outcomes_of(target, *(request(n, trace=trace) for n, trace in enumerate(traces)))
        good, bad = ({name for name, _ in trace.times} for trace in traces)
        assert {"COMPUTE_OUTPUT_START", "INFER_RESPONSE_COMPLETE", "REQUEST_END"} <= good
        assert {"QUEUE_START", "COMPUTE_START", "COMPUTE_END", "REQUEST_END"} <= bad
        assert not bad & {"COMPUTE_OUTPUT_START", "INFER_RESPONSE_COMPLETE"}

    run(main)


@pytest.mark.parametrize("fresh", [True, False])
def test_answers_that_share_memory_are_told_apart(fresh: bool) -> None:
    """Unless the instance vouches for them."""
    shared = np.full((1, 1), 7)

    class Sharing(Model):
        def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
            return [{"y": shared}, ValueError("poison"), {"y": shared}, {"y": np.ones((1, 1), np.int64)}]

    async def main() -> None:
        async with scheduled(Sharing({}, fresh=fresh)) as scheduler:
            first, _, third, _ = await outcomes_of(scheduler, *map(request, range(4)))
        alone = not any(
            np.shares_memory(one, other)
            for one, other in ((first.outputs["y"], shared), (third.outputs["y"], shared))
        )
        assert alone is not fresh
        assert first.outputs["y"].item() == third.outputs["y"].item() == 7

    run(main)


# --- sequences ------------------------------------------------------------------------------------------------------

SEQUENCES = """
name: "m" max_batch_size: 4
input { name: "x" data_type: TYPE_INT32 dims: 1 }
output { name: "y" data_type: TYPE_INT32 dims: 1 }
sequence_batching {
  %s
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] } }
}
"""
CPU = Placement("m_0", "CPU")


class Separate:
    separates_requests = True

    def instance(self, placement: Placement) -> Any: ...

    def close(self) -> None: ...


class Reply:
    """What becomes of one step."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.ends: list[ServingError | None] = []

    def respond(self, response: InferResponse) -> None:
        self.answers.append(int(response.outputs["y"].item()))

    def end(self, error: ServingError | None = None) -> None:
        self.ends.append(error)


def sequence_spec(strategy: str, model: Any = Separate(), *, streams: bool = False) -> ModelSpec:  # noqa: B008
    config = parse_config(SEQUENCES % strategy, "test")
    config.model_transaction_policy.decoupled = streams
    made = ModelSignature(config)
    initial = zeros(TensorSignature("SUM", INT32, (1,)), (1, 1))
    initial.flags.writeable = False
    state = StateTensor("SO_FAR", TensorSignature("SUM", INT32, (1,)), initial)
    rules = sequence_rules(config, (state,))
    return ModelSpec(made, "1", (CPU,), make_merger(config, made, model, rules), sequences=rules)


def step(
    number: int, value: int, kept: dict[str, Array], *, start: bool = True, ready: bool = True
) -> InferRequest:
    place = SequenceStep(number, start=start, ready=ready, state=kept)
    return InferRequest("m", {"x": np.array([[value]], np.int32)}, checked=True, sequence=place)


def execute(spec: ModelSpec, requests: Sequence[InferRequest], model: Any) -> list[Reply]:
    replies = [Reply() for _ in requests]
    members = [Pending(each, reply) for each, reply in zip(requests, replies, strict=True)]
    kind = RoundExecution if spec.sequences and spec.sequences.iterative else BatchExecution
    execution = kind(Batch(members, BatchReason.NO_DELAY, members[0].enqueued_ns), spec, CPU)
    execution.finish([model(execution.inputs(), execution.requests)], fresh=False)
    assert not execution.to_be_retried
    execution.settle()
    assert [len(reply.ends) for reply in replies] == [1] * len(replies)
    return replies


def adding(inputs: Sequence[Tensors], requests: Sequence[InferRequest]) -> list[Any]:
    """Adds up, and fails for negative numbers."""
    answers: list[Any] = []
    for each in inputs:
        assert sorted(each) == ["SO_FAR", "START", "x"]
        assert [array.shape for array in each.values()] == [(1, 1)] * 3
        total = each["x"] + each["SO_FAR"]
        answers.append(ValueError("negative") if each["x"].item() < 0 else {"y": total, "SUM": total})
    return answers


def test_a_step_that_fails_leaves_its_sequence_where_it_was() -> None:
    spec = sequence_spec("direct { }")
    one, two = dict[str, Array](), dict[str, Array]()
    execute(spec, [step(1, 5, one), step(2, 6, two)], adding)
    failed, good = execute(spec, [step(1, -1, one, start=False), step(2, 7, two, start=False)], adding)
    assert (failed.answers, good.answers) == ([], [13])
    assert "ValueError: negative" in str(failed.ends[0])
    again, _ = execute(spec, [step(1, 1, one, start=False), step(2, 1, two, start=False)], adding)
    assert again.answers == [6]
    counted = spec.statistics
    assert (counted.success_count, counted.inference_count, counted.execution_count) == (5, 5, 3)
    assert counted.failures[FailureReason.BACKEND] == 1


def test_who_stands_in_for_nobody_is_neither_told_nor_counted() -> None:
    class Null(Pending):
        __slots__ = ()
        is_null = True

    spec, replies = sequence_spec("direct { }"), [Reply(), Reply()]
    members = [Pending(step(1, 5, {}), replies[0]), Null(step(0, -1, {}, ready=False), replies[1])]
    execution = BatchExecution(Batch(members, BatchReason.NO_DELAY, 1), spec, CPU)
    execution.finish([adding(execution.inputs(), execution.requests)], fresh=False)  # type: ignore[arg-type]
    execution.settle()
    assert (replies[0].answers, replies[1].ends) == ([5], [])
    counted = spec.statistics
    assert (counted.success_count, counted.inference_count, counted.fail.count) == (1, 1, 0)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", [Separate(), None])
def test_of_an_iterative_model_one_fails_one_goes_on_and_one_is_answered(streams: bool, model: Any) -> None:
    spec = sequence_spec("iterative_sequence: true oldest { }", model, streams=streams)

    def rounds(inputs: Any, requests: Sequence[InferRequest]) -> list[Any]:
        for each in requests[:2]:
            each.reschedule()
        given: dict[str, Array] = {"y": np.ones((1, 1), np.int32), "SUM": np.ones((1, 1), np.int32)}
        rest = {"SUM": np.ones((1, 1), np.int32)}
        return [ValueError("poison"), rest, given]

    requests = [step(number, 1, {}) for number in range(1, 4)]
    failed, on, answered = execute(spec, requests, rounds)
    assert [goes_on(each) for each in requests] == [False, True, False]
    assert "poison" in str(failed.ends[0])
    assert (on.answers, on.ends) == ([], [None])
    assert (answered.answers, answered.ends) == ([1], [None])
    counted = spec.statistics
    assert (counted.success_count, counted.inference_count, counted.execution_count) == (1, 2, 1)
    assert counted.failures[FailureReason.BACKEND] == 1


def test_one_at_a_time_works_as_well() -> None:
    async def main() -> None:
        model = Model({1: NotFoundError("no")})
        async with scheduled(model, ONE_AT_A_TIME) as scheduler:
            found = [(await outcomes_of(scheduler, request(n)))[0] for n in range(3)]
        assert isinstance(found[1], NotFoundError)
        assert [each.outputs["y"].item() for each in (found[0], found[2])] == [0, 20]

    run(main)
