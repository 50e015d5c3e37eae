"""The response cache in front of a target: what is answered without an execution, and equal requests at one time."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.caching.cache import CacheFigures, Caching
from kserve_v2.caching.entry import Entry, entry_of
from kserve_v2.caching.local import LocalCache
from kserve_v2.errors import (
    InternalError,
    InvalidArgumentError,
    OverloadedError,
    ServingError,
    UnavailableError,
)
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.cached import CachedTarget
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason, FailureReason, ModelStatistics
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.tracing.trace import Trace

CONFIG = """
    name: "m" input { name: "X" data_type: TYPE_INT64 dims: [-1] }
    output { name: "Y" data_type: TYPE_INT64 dims: [-1] } output { name: "Z" data_type: TYPE_INT64 dims: [-1] }
"""
SIGNATURE = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))


def request(value: int = 1, number: int = 0, outputs: tuple[str, ...] = (), **options: Any) -> InferRequest:
    return InferRequest("m", {"X": np.array([value])}, id=str(number), requested_outputs=outputs, **options)


@dataclass(eq=False)
class Execution:
    """A request that a model has, until the test says what becomes of it."""

    model: "Model"
    request: InferRequest
    reply: Reply
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True
        self.request.cancelled = True
        self.model.executions.remove(self)
        self.model.statistics.record_failure(FailureReason.CANCELED, 0)

    def answer(self) -> None:
        self.model.executions.remove(self)
        self.model.record()
        self.reply.respond(answer_to(self.request))
        self.reply.end()

    def fail(self, error: ServingError, reason: FailureReason = FailureReason.BACKEND) -> None:
        self.model.executions.remove(self)
        self.model.statistics.record_failure(reason, 0)
        self.reply.end(error)


def answer_to(asked: InferRequest) -> InferResponse:
    value = asked.inputs["X"]
    outputs = {"Y": value + 1, "Z": value * 2}
    wanted = asked.requested_outputs or ("Y", "Z")
    return InferResponse("m", "1", asked.id, {name: outputs[name] for name in wanted}, {"p": 1})


@dataclass(eq=False)
class Model:
    """A target that does what the test says, when it says so. `at_once`: what it says when it is asked."""

    statistics: ModelStatistics = field(default_factory=ModelStatistics)
    executions: list[Execution] = field(default_factory=list)
    asked: list[InferRequest] = field(default_factory=list)
    at_once: Any = None
    abandoned: bool = False
    depth: int = 0

    def submit(self, asked: InferRequest, reply: Reply) -> InferResponse | Ticket:
        self.asked.append(asked)
        if isinstance(self.at_once, ServingError):
            self.statistics.record_failure(FailureReason.REJECTED, 0)
            raise self.at_once
        if self.at_once is not None:
            self.record()
            return self.at_once(asked)
        execution = Execution(self, asked, reply)
        self.executions.append(execution)
        return execution

    def record(self) -> None:
        self.statistics.record_success(1, 1, 0, (0, 0, 0, 0), BatchReason.NO_DELAY, 1)

    async def start(self) -> None: ...

    async def drain(self) -> None: ...

    def abandon(self, why: str = "") -> None:
        self.abandoned = True
        for execution in list(self.executions):
            execution.fail(
                UnavailableError("Server exiting: the request was not executed"), FailureReason.CANCELED
            )

    async def stop(self) -> None: ...


@dataclass(eq=False)
class Caller:
    """Takes what a request gets, and has to get exactly one outcome."""

    outcomes: list[InferResponse | ServingError] = field(default_factory=list)
    ticket: Ticket | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        return self.over.is_set()

    def respond(self, response: InferResponse) -> None:
        assert not self.ended
        self.outcomes.append(response)

    def end(self, error: ServingError | None = None) -> None:
        assert not self.ended
        self.over.set()
        if error is not None:
            self.outcomes.append(error)

    @property
    def outcome(self) -> InferResponse | ServingError | None:
        assert len(self.outcomes) <= 1
        return self.outcomes[0] if self.outcomes else None

    @property
    def error(self) -> str:
        assert isinstance(self.outcome, ServingError)
        return self.outcome.message

    @property
    def answer(self) -> InferResponse:
        assert isinstance(self.outcome, InferResponse)
        return self.outcome


class Cached:
    """A model behind a cache, and its callers."""

    def __init__(
        self,
        cache: Any = None,
        *,
        policy: QueuePolicy = QueuePolicy(),  # noqa: B008 - frozen
        levels: int = 2,
        coalesces: bool = True,
        composed: bool = False,
        inflight: int = sys.maxsize,
    ) -> None:
        self.model = Model()
        self.inflight = InflightBytes(inflight)
        self.spec = ModelSpec(
            SIGNATURE, "1", (), RowMerger(SIGNATURE), levels=PriorityLevels((policy,) * levels), inflight=self.inflight, statistics=self.model.statistics
        )  # fmt: skip
        self.target = CachedTarget(
            self.model,
            self.spec,
            Caching(cache or LocalCache(100_000), "m", coalesces=coalesces, composed=composed),
        )

    def submit(self, asked: InferRequest) -> Caller:
        caller = Caller()
        try:
            given = self.target.submit(asked, caller)
        except ServingError as error:
            caller.end(error)
            return caller
        if isinstance(given, InferResponse):
            caller.respond(given)
            caller.end()
        else:
            caller.ticket = given
            # Never before submit has returned.
            assert not caller.ended
        return caller

    def counts(self) -> dict[str, int]:
        """The statistics that are not zero, and executions."""
        statistics = self.model.statistics
        counts = {name: duration.count for name, duration in statistics.durations().items()}
        counts |= {"inferences": statistics.inference_count, "executions": statistics.execution_count}
        return {name: count for name, count in counts.items() if count}

    def assert_idle(self) -> None:
        assert self.target.under_way.count == 0
        assert self.target.waiting == 0
        assert self.target._flights == {}
        assert self.inflight.used == 0
        assert self.target.depth == 0


def values(response: InferResponse) -> dict[str, list[int]]:
    return {name: array.tolist() for name, array in response.outputs.items()}


def run(test: Any) -> None:
    asyncio.run(test())


# --- traces ---------------------------------------------------------------------------------------------------------


def test_a_traced_request_that_is_not_executed_has_no_computation() -> None:
    async def test() -> None:
        cached = Cached()
        traces = [Trace(number, "m", wants_tensors=True) for number in range(4)]
        asked = [request(number=number, trace=trace) for number, trace in enumerate(traces)]
        for each in asked[:3]:
            each.trace.begin_request("1", each.id, each.inputs)
        callers = [cached.submit(each) for each in asked[:3]]
        # The first one leaves: what happens to its request is no business of its trace any more.
        give_up(callers[0])
        assert cached.model.asked[0].trace is None
        cached.model.executions[0].answer()
        cached.submit(asked[3])
        for trace in traces[1:]:
            names = [name for name, _ in trace.times]
            assert names[-3:] == ["QUEUE_START", "INFER_RESPONSE_COMPLETE", "REQUEST_END"]
            assert "COMPUTE_START" not in names
            outputs = trace.recorded("TENSOR_BACKEND_OUTPUT")
            assert {name: array.tolist() for name, array in outputs.items()} == {"Y": [2], "Z": [2]}

    run(test)


# --- hits -----------------------------------------------------------------------------------------------------------


def test_three_equal_requests_are_one_execution_and_counted_as_triton_counts_them() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = answer_to
        callers = [cached.submit(request(number=number)) for number in range(3)]
        assert [values(caller.answer) for caller in callers] == [{"Y": [2], "Z": [2]}] * 3
        assert [caller.answer.id for caller in callers] == ["0", "1", "2"]
        assert [caller.answer.parameters for caller in callers] == [{"p": 1}] * 3
        # scheduling.md 9.4
        assert cached.counts() == {
            "inferences": 1, "executions": 1, "success": 3, "queue": 3, "cache_hit": 2, "cache_miss": 1,
            "compute_input": 1, "compute_infer": 1, "compute_output": 1,
        }  # fmt: skip
        assert cached.model.statistics.cache_hit.ns > 0
        assert cached.model.statistics.cache_miss.ns > 0
        cached.assert_idle()

    run(test)


def test_an_answer_that_comes_later_is_kept_too() -> None:
    async def test() -> None:
        cached = Cached()
        first = cached.submit(request())
        cached.model.executions[0].answer()
        assert cached.submit(request(number=7)).answer.id == "7"
        assert values(first.answer) == {"Y": [2], "Z": [2]}
        assert len(cached.model.asked) == 1

    run(test)


def test_outputs_that_were_not_asked_for_are_not_answered() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = answer_to
        for outputs, expected in ((("Y",), {"Y": [2]}), (("Z",), {"Z": [2]}), ((), {"Y": [2], "Z": [2]})):
            for _ in range(2):
                assert values(cached.submit(request(outputs=outputs)).answer) == expected
        assert len(cached.model.asked) == 3

    run(test)


def test_what_a_consumer_does_to_an_answer_changes_no_other_one() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = answer_to
        first = cached.submit(request()).answer
        first.outputs["Y"][:] = 99
        first.parameters["p"] = 2
        for _ in range(2):
            hit = cached.submit(request()).answer
            assert values(hit) == {"Y": [2], "Z": [2]}
            assert hit.parameters == {"p": 1}
            with pytest.raises(ValueError, match="read-only"):
                hit.outputs["Y"][:] = 99
            hit.outputs.clear()
            hit.parameters.clear()

    run(test)


def test_a_model_that_writes_to_its_inputs_does_not_change_what_it_was_asked() -> None:
    def greedy(asked: InferRequest) -> InferResponse:
        answer = answer_to(asked)
        asked.inputs["X"][:] = 5
        return answer

    async def test() -> None:
        cached = Cached()
        cached.model.at_once = greedy
        assert values(cached.submit(request(1)).answer) == {"Y": [2], "Z": [2]}
        assert values(cached.submit(request(5)).answer) == {"Y": [6], "Z": [10]}
        assert values(cached.submit(request(1)).answer) == {"Y": [2], "Z": [2]}

    run(test)


def test_errors_are_not_kept() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = InternalError("broken")
        assert cached.submit(request()).error == "broken"
        cached.model.at_once = None
        later = cached.submit(request())
        cached.model.executions[0].fail(InvalidArgumentError("bad"))
        assert later.error == "bad"
        cached.model.at_once = answer_to
        assert values(cached.submit(request()).answer) == {"Y": [2], "Z": [2]}
        assert len(cached.model.asked) == 3
        cached.assert_idle()

    run(test)


def test_answers_with_missing_outputs_are_not_kept() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = lambda asked: InferResponse("m", "1", asked.id, {"Y": np.array([1])})
        for _ in range(2):
            cached.submit(request())
        assert len(cached.model.asked) == 2
        # All that was asked for is there.
        for _ in range(2):
            cached.submit(request(outputs=("Y",)))
        assert len(cached.model.asked) == 3

    run(test)


def test_what_is_larger_than_the_cache_is_answered_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        cached = Cached(LocalCache(600))
        cached.model.at_once = answer_to
        for _ in range(3):
            assert values(cached.submit(request()).answer) == {"Y": [2], "Z": [2]}
        assert len(cached.model.asked) == 3

    run(test)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "--cache-config local,size=600" in caplog.text


def test_requests_of_a_sequence_go_past_the_cache() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = answer_to
        for sequence_id in (1, "a"):
            for _ in range(2):
                cached.submit(request(control={"sequence_id": sequence_id}))
        assert len(cached.model.asked) == 4
        assert "cache_miss" not in cached.counts()

    run(test)


def test_priority_and_timeout_make_no_difference() -> None:
    async def test() -> None:
        cached = Cached()
        cached.model.at_once = answer_to
        for control in (
            {},
            {"priority": 1},
            {"priority": 2, "timeout": 5},
            {"sequence_id": 0},
            {"sequence_id": ""},
        ):
            cached.submit(request(control=dict(control)))
        assert len(cached.model.asked) == 1

    run(test)


def test_a_new_generation_begins_with_nothing_and_the_old_one_s_entries_are_gone() -> None:
    async def test() -> None:
        cache = LocalCache(100_000)
        old, new = Cached(cache), Cached(cache)
        for cached in (old, new):
            cached.model.at_once = answer_to
            cached.submit(request())
        assert len(new.model.asked) == 1
        assert cache.figures().entries == 2
        await old.target.stop()
        assert cache.figures().entries == 1
        assert new.submit(request()).answer.id == "0"
        assert len(new.model.asked) == 1
        # What ends after its version keeps nothing behind.
        late = old.submit(request(5))
        assert values(late.answer) == {"Y": [6], "Z": [10]}
        assert cache.figures().entries == 1

    run(test)


def test_answers_of_other_models_are_forgotten_when_those_are_others() -> None:
    async def test() -> None:
        cache = LocalCache(100_000)
        cached = Cached(cache, composed=True)
        old, new = object(), object()
        cached.target.renew(old)
        under_way = cached.submit(request(1))
        cached.model.at_once = answer_to
        cached.submit(request(2))
        cached.target.renew(new)
        assert cache.figures().entries == 0
        # What was asked of the old ones is neither kept for the new ones nor shared with them.
        assert values(cached.submit(request(1)).answer) == {"Y": [2], "Z": [2]}
        assert len(cached.model.asked) == 3
        cached.model.executions[0].answer()
        assert under_way.answer.id == "0"
        assert cache.figures().entries == 1
        cached.submit(request(2))
        assert len(cached.model.asked) == 4
        # A request that is pinned to the old ones goes past the cache.
        for pinned, asked in ((old, 5), (new, 5), (None, 5), (old, 6)):
            cached.submit(request(2, pinned=pinned))
            assert len(cached.model.asked) == asked
        cached.assert_idle()

    run(test)


def test_answers_for_which_other_models_were_called_are_forgotten_when_any_of_them_changes() -> None:
    async def test() -> None:
        cached = Cached()

        def executed() -> None:
            cached.model.executions[0].request.calls = set()
            cached.model.executions[0].answer()

        cached.submit(request())
        executed()
        cached.submit(request())
        assert len(cached.model.asked) == 1
        cached.spec.changes.count += 1
        caller = cached.submit(request())
        assert len(cached.model.asked) == 2
        # What was under way meanwhile may be made of both.
        cached.spec.changes.count += 1
        executed()
        assert caller.answer.id == "0"
        cached.submit(request())
        assert len(cached.model.asked) == 3
        executed()
        cached.submit(request())
        assert len(cached.model.asked) == 3
        cached.assert_idle()

    run(test)


def test_the_first_answer_for_which_another_model_was_called_is_not_kept_if_that_has_changed() -> None:
    async def test() -> None:
        cached = Cached()
        cached.submit(request())
        cached.spec.changes.count += 1
        cached.model.executions[0].request.calls = set()
        cached.model.executions[0].answer()
        cached.submit(request())
        assert len(cached.model.asked) == 2

    run(test)


def test_other_models_changes_cost_a_model_that_calls_none_nothing() -> None:
    async def test() -> None:
        cached = Cached()
        cached.submit(request())
        cached.spec.changes.count += 1
        cached.model.executions[0].answer()
        cached.spec.changes.count += 1
        cached.submit(request())
        assert len(cached.model.asked) == 1

    run(test)


def test_servers_do_not_share_answers_for_which_other_models_were_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        for _ in range(2):
            caller = cached.submit(request())
            cache.lookups[-1].set_result(None)
            await turns()
            cached.model.executions[0].request.calls = set()
            cached.model.executions[0].answer()
            assert caller.answer.id == "0"
        assert cache.kept == []

    run(test)
    [record] = caplog.records
    assert "answers for which it has called other models are not kept" in record.getMessage()


def test_nobody_shares_the_answers_of_other_models() -> None:
    seeds: set[str] = set()

    class Noting(LaterCache):
        def space(self, identity: str) -> LaterCache:
            seeds.add(identity)
            return self

    for composed in (False, False, True, True):
        Cached(Noting(), composed=composed)
    assert len(seeds) == 3


# --- equal requests at the same time --------------------------------------------------------------------------------


def test_equal_requests_at_the_same_time_are_executed_once_and_each_has_its_own_answer() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(5)]
        other = cached.submit(request(2, number=9))
        assert [asked.id for asked in cached.model.asked] == ["0", "9"]
        assert cached.target.depth == 4
        cached.model.executions[0].answer()
        assert [caller.answer.id for caller in callers] == ["0", "1", "2", "3", "4"]
        assert all(values(caller.answer) == {"Y": [2], "Z": [2]} for caller in callers)
        assert other.outcome is None
        cached.model.executions[0].answer()
        assert other.answer.id == "9"
        assert cached.counts()["success"] == 6
        assert cached.counts()["cache_hit"] == 4
        assert cached.counts()["executions"] == 2
        # What one writes, no other one reads.
        callers[0].answer.outputs["Y"][:] = 99
        assert values(callers[1].answer) == {"Y": [2], "Z": [2]}
        with pytest.raises(ValueError, match="read-only"):
            callers[1].answer.outputs["Y"][:] = 99
        cached.assert_idle()

    run(test)


def test_they_share_an_answer_that_is_too_large_to_be_kept() -> None:
    async def test() -> None:
        cached = Cached(LocalCache(600))
        callers = [cached.submit(request(number=number)) for number in range(3)]
        cached.model.executions[0].answer()
        assert [caller.answer.id for caller in callers] == ["0", "1", "2"]
        callers[0].answer.outputs["Y"][:] = 99
        assert values(callers[2].answer) == {"Y": [2], "Z": [2]}

    run(test)


def test_a_model_can_opt_out() -> None:
    async def test() -> None:
        cached = Cached(coalesces=False)
        callers = [cached.submit(request(number=number)) for number in range(3)]
        assert len(cached.model.executions) == 3
        for execution in list(cached.model.executions):
            execution.answer()
        assert [caller.answer.id for caller in callers] == ["0", "1", "2"]
        assert cached.submit(request(number=4)).answer.id == "4"
        assert len(cached.model.asked) == 3
        cached.assert_idle()

    run(test)


def test_an_urgent_request_does_not_wait_for_one_that_is_not() -> None:
    async def test() -> None:
        cached = Cached()
        cached.submit(request(control={"priority": 2}))
        cached.submit(request(control={"priority": 1}))
        cached.submit(request(control={"priority": 1}))
        assert [asked.control["priority"] for asked in cached.model.asked] == [2, 1]

    run(test)


def test_a_request_that_another_model_makes_waits_for_no_execution_but_its_own() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [
            cached.submit(request(number=number, callers=callers))
            for number, callers in enumerate([(), (("other", 1),), (("other", 1),), ()])
        ]
        # Only the clients' requests share one.
        assert [asked.id for asked in cached.model.asked] == ["0", "1", "2"]
        cached.model.executions[1].fail(InternalError("a circle"))
        assert [caller.outcome is None for caller in callers] == [True, False, True, True]
        for execution in list(cached.model.executions):
            execution.answer()
        assert [caller.answer.id for caller in callers if caller is not callers[1]] == ["0", "2", "3"]
        # What was answered once, it may have as well.
        assert cached.submit(request(number=9, callers=(("other", 1),))).answer.id == "9"
        cached.assert_idle()

    run(test)


def test_an_error_is_each_one_s_own_object_and_not_kept() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(3)]
        cached.model.executions[0].fail(InvalidArgumentError("bad"))
        errors = [caller.outcome for caller in callers]
        assert [type(error) for error in errors] == [InvalidArgumentError] * 3
        assert [caller.error for caller in callers] == ["bad"] * 3
        assert len({id(error) for error in errors}) == 3
        assert cached.counts() == {"fail": 3, "cache_miss": 1}
        assert cached.model.statistics.failures[FailureReason.BACKEND] == 3
        cached.submit(request())
        assert len(cached.model.asked) == 2

    run(test)


def test_a_model_that_ends_without_an_answer_is_an_error() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request()) for _ in range(2)]
        execution = cached.model.executions.pop()
        execution.reply.end()
        assert [caller.error for caller in callers] == ["the model has ended without an answer"] * 2

    run(test)


def give_up(caller: Caller) -> None:
    assert caller.ticket is not None
    caller.ticket.give_up()
    caller.ticket.give_up()


def test_whoever_leaves_leaves_the_others_alone() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(4)]
        give_up(callers[2])
        # The one whose request is executed.
        give_up(callers[0])
        assert not cached.model.executions[0].given_up
        assert not cached.model.asked[0].cancelled
        cached.model.executions[0].answer()
        assert [caller.outcome is None for caller in callers] == [True, False, True, False]
        assert callers[1].answer.id == "1"
        assert callers[3].answer.id == "3"
        assert cached.counts()["success"] == 2
        assert cached.counts()["fail"] == 2
        assert cached.counts()["cache_hit"] == 1
        assert cached.model.statistics.failures[FailureReason.CANCELED] == 2
        cached.assert_idle()

    run(test)


def test_when_all_have_left_the_execution_is_given_up() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(3)]
        [execution] = cached.model.executions
        for caller in callers:
            assert not execution.given_up
            give_up(caller)
        assert execution.given_up
        assert all(caller.outcome is None for caller in callers)
        assert cached.counts() == {"fail": 3, "cache_miss": 1}
        cached.assert_idle()
        # An equal request is executed anew.
        cached.submit(request())
        assert len(cached.model.asked) == 2

    run(test)


@pytest.mark.parametrize("error", [UnavailableError("Request timeout expired"), OverloadedError("no room")])
def test_one_s_own_refusal_is_not_the_others(error: ServingError) -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(3)]
        cached.model.executions[0].fail(error, FailureReason.REJECTED)
        assert callers[0].outcome is error
        assert callers[1].outcome is None
        # The next one's request is executed for the rest.
        assert [asked.id for asked in cached.model.asked] == ["0", "1"]
        assert cached.target.depth == 1
        cached.model.executions[0].answer()
        assert [caller.answer.id for caller in callers[1:]] == ["1", "2"]
        assert cached.counts()["success"] == 2
        assert cached.counts()["fail"] == 1
        cached.assert_idle()

    run(test)


def test_each_is_refused_by_itself_where_all_are() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(3)]
        cached.model.at_once = UnavailableError("Exceeds maximum queue size")
        cached.model.executions[0].fail(UnavailableError("Request timeout expired"), FailureReason.REJECTED)
        assert [caller.error for caller in callers] == [
            "Request timeout expired", "Exceeds maximum queue size", "Exceeds maximum queue size",
        ]  # fmt: skip
        assert cached.counts() == {"fail": 3, "cache_miss": 1}
        cached.assert_idle()

    run(test)


def test_the_expiry_of_one_who_has_left_is_not_that_of_the_one_it_is_executed_for() -> None:
    async def test() -> None:
        cached = Cached()
        callers = [cached.submit(request(number=number)) for number in range(2)]
        give_up(callers[0])
        cached.model.executions[0].fail(UnavailableError("Request timeout expired"), FailureReason.REJECTED)
        assert callers[1].outcome is None
        cached.model.executions[0].answer()
        assert callers[1].answer.id == "1"
        cached.assert_idle()

    run(test)


def test_a_request_waits_for_another_one_s_execution_only_as_long_as_it_may_wait() -> None:
    async def test() -> None:
        policy = QueuePolicy(timeout_us=10**9, allow_override=True)
        cached = Cached(policy=policy)
        first = cached.submit(request(number=0))
        hasty = cached.submit(request(number=1, control={"timeout": 1}))
        patient = cached.submit(request(number=2, control={"timeout": 10**8}))
        await hasty.over.wait()
        assert hasty.error == "Request timeout expired"
        assert cached.model.statistics.failures[FailureReason.REJECTED] == 1
        cached.model.executions[0].fail(UnavailableError("Request timeout expired"), FailureReason.REJECTED)
        # What it has waited is not given to it again.
        assert 0 < int(cached.model.asked[1].control["timeout"]) <= 10**8
        cached.model.executions[0].answer()
        assert patient.answer.id == "2"
        assert first.error == "Request timeout expired"
        cached.assert_idle()

    run(test)


def test_what_waits_counts_among_the_bytes_in_flight() -> None:
    async def test() -> None:
        cached = Cached(inflight=20)
        callers = [cached.submit(request(number=number)) for number in range(4)]
        # Eight bytes each, but for the first one, whose bytes its queue counts.
        assert cached.inflight.used == 16
        assert [caller.outcome is None for caller in callers] == [True, True, True, False]
        assert isinstance(callers[3].outcome, OverloadedError)
        cached.model.executions[0].answer()
        assert cached.inflight.used == 0
        assert cached.counts()["success"] == 3
        assert cached.counts()["fail"] == 1
        cached.assert_idle()

    run(test)


def test_a_request_that_comes_from_a_reply_is_answered_too() -> None:
    async def test() -> None:
        cached = Cached()
        again: list[Caller] = []

        class Asking(Caller):
            def end(self, error: ServingError | None = None) -> None:
                super().end(error)
                again.append(cached.submit(request(number=8)))

        asking = Asking()
        cached.target.submit(request(), asking)
        cached.submit(request(number=1))
        cached.model.executions[0].answer()
        assert again[0].answer.id == "8"
        cached.assert_idle()

    run(test)


def test_a_reply_that_raises_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        class Broken(Caller):
            def respond(self, response: InferResponse) -> None:
                raise ValueError("broken")

        cached = Cached()
        cached.target.submit(request(), Broken())
        caller = cached.submit(request(number=1))
        cached.model.executions[0].answer()
        assert caller.answer.id == "1"
        cached.assert_idle()

    run(test)
    assert "the outcome of a request was not taken" in caplog.text


# --- a cache that answers later -------------------------------------------------------------------------------------


class LaterCache:
    """Answers lookups when the test says so."""

    shared = True

    def __init__(self) -> None:
        self.seed = "later"
        self.lookups: list[asyncio.Future[Entry | None]] = []
        self.kept: list[Entry] = []
        self.closed = False

    def space(self, identity: str) -> "LaterCache":
        return self

    def recall(self, key: bytes) -> "asyncio.Future[Entry | None]":
        future: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self.lookups.append(future)
        return future

    def has_room_for(self, nbytes: int) -> bool:
        return True

    def keep(self, key: bytes, entry: Entry) -> None:
        self.kept.append(entry)

    def close(self) -> None:
        self.closed = True

    def figures(self) -> CacheFigures:
        return CacheFigures()

    async def stop(self) -> None: ...


ENTRY = entry_of({"Y": np.array([7]), "Z": np.array([8])}, {"q": 1})


async def turns() -> None:
    """Let callbacks run, and those that they schedule."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_all_that_wait_for_one_lookup_are_hits() -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        callers = [cached.submit(request(number=number)) for number in range(3)]
        assert len(cache.lookups) == 1
        assert cached.target.depth == 3
        assert cached.inflight.used == 24
        cache.lookups[0].set_result(ENTRY)
        await turns()
        assert [caller.answer.id for caller in callers] == ["0", "1", "2"]
        assert all(values(caller.answer) == {"Y": [7], "Z": [8]} for caller in callers)
        assert cached.model.asked == []
        assert cached.counts() == {"success": 3, "queue": 3, "cache_hit": 3}
        cached.assert_idle()

    run(test)


@pytest.mark.parametrize("later", [False, True])
def test_a_lookup_that_finds_nothing_is_followed_by_one_execution(later: bool) -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        cached.model.at_once = None if later else answer_to
        callers = [cached.submit(request(number=number)) for number in range(3)]
        cache.lookups[0].set_result(None)
        await turns()
        if later:
            assert cached.target.depth == 2
            cached.model.executions[0].answer()
        assert [caller.answer.id for caller in callers] == ["0", "1", "2"]
        assert len(cached.model.asked) == len(cache.kept) == 1
        assert cached.counts()["cache_miss"] == 1
        assert cached.counts()["cache_hit"] == 2
        cached.assert_idle()

    run(test)


def test_a_lookup_that_fails_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        cached.model.at_once = answer_to
        callers = [cached.submit(request(number=number)) for number in range(2)]
        cache.lookups[0].set_exception(ValueError("a defect"))
        await turns()
        assert [caller.answer.id for caller in callers] == ["0", "1"]
        caller = cached.submit(request(2))
        cache.lookups[1].cancel()
        await turns()
        assert values(caller.answer) == {"Y": [3], "Z": [4]}
        cached.assert_idle()

    run(test)
    assert "the response cache failed" in caplog.text


def test_whoever_leaves_during_the_lookup_leaves_the_others_alone() -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        callers = [cached.submit(request(number=number)) for number in range(3)]
        give_up(callers[0])
        cache.lookups[0].set_result(None)
        await turns()
        assert [asked.id for asked in cached.model.asked] == ["1"]
        cached.model.executions[0].answer()
        assert [caller.outcome is None for caller in callers] == [True, False, False]
        cached.assert_idle()

    run(test)


def test_when_all_have_left_the_lookup_is_cancelled() -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        callers = [cached.submit(request(number=number)) for number in range(2)]
        for caller in callers:
            give_up(caller)
        assert cache.lookups[0].cancelled()
        await turns()
        assert cached.model.asked == []
        assert cached.counts() == {"fail": 2}
        cached.assert_idle()

    run(test)


def test_a_request_waits_for_a_lookup_only_as_long_as_it_may_wait() -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache, policy=QueuePolicy(timeout_us=1))
        caller = cached.submit(request())
        await caller.over.wait()
        assert caller.error == "Request timeout expired"
        assert cache.lookups[0].cancelled()
        cached.assert_idle()

    run(test)


def test_there_is_no_room_for_one_that_would_wait_for_a_lookup() -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache, inflight=7)
        assert isinstance(cached.submit(request()).outcome, ServingError)
        assert cache.lookups[0].cancelled()
        assert cached.counts() == {"fail": 1}
        cached.assert_idle()

    run(test)


def test_the_end_of_the_server_ends_lookups_and_executions_that_have_not_begun() -> None:
    async def test() -> None:
        cache = LaterCache()
        cached = Cached(cache)
        executed = [cached.submit(request(1, number)) for number in range(2)]
        cache.lookups[0].set_result(None)
        await turns()
        looked_up = [cached.submit(request(2, number)) for number in range(2)]
        drained = asyncio.ensure_future(cached.target.drain())
        await turns()
        assert not drained.done()
        cached.target.abandon()
        assert {caller.error for caller in executed + looked_up} == {
            "Server exiting: the request was not executed"
        }
        assert len(cached.model.asked) == 1
        await drained
        await cached.target.stop()
        assert cache.closed
        assert cached.counts()["fail"] == 4
        cached.assert_idle()

    run(test)


# --- anything, in any order -----------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 1), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("answer"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("refuse"), st.integers(0, 5)),
        st.tuples(st.just("found"), st.integers(0, 5)),
        st.tuples(st.just("nothing"), st.integers(0, 5)),
        st.tuples(st.just("mode"), st.sampled_from([None, answer_to, UnavailableError("full")])),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, later=st.booleans(), coalesces=st.booleans())
def test_every_request_has_exactly_one_outcome_and_it_is_its_own(
    steps: list[Any], later: bool, coalesces: bool
) -> None:
    async def test() -> None:
        cache = LaterCache() if later else LocalCache(3000)
        cached = Cached(cache, coalesces=coalesces)
        callers: list[tuple[Caller, int, int]] = []
        left: set[int] = set()
        lookups = cache.lookups if isinstance(cache, LaterCache) else []

        async def settle(step: Sequence[Any]) -> None:
            name, *arguments = step
            executions = cached.model.executions
            waiting = [lookup for lookup in lookups if not lookup.done()]
            if name == "submit":
                value, priority = arguments
                asked = request(value, len(callers), control={"priority": priority})
                callers.append((cached.submit(asked), len(callers), value))
            elif name == "mode":
                [cached.model.at_once] = arguments
            elif name == "leave" and callers:
                caller, number, _ = callers[arguments[0] % len(callers)]
                if caller.ticket is not None:
                    if caller.outcome is None:
                        left.add(number)
                    caller.ticket.give_up()
            elif name in ("found", "nothing") and waiting:
                waiting[arguments[0] % len(waiting)].set_result(None if name == "nothing" else ENTRY)
                await turns()
            elif name == "answer" and executions:
                executions[arguments[0] % len(executions)].answer()
            elif name == "fail" and executions:
                executions[arguments[0] % len(executions)].fail(InternalError("broken"))
            elif name == "refuse" and executions:
                execution = executions[arguments[0] % len(executions)]
                execution.fail(UnavailableError("expired"), FailureReason.REJECTED)

        for step in steps:
            await settle(step)
        cached.model.at_once = None
        while cached.target.under_way.count:
            await settle(("nothing", 0))
            await settle(("answer", 0))
        succeeded = 0
        for caller, number, value in callers:
            if number in left:
                assert caller.outcomes == []
            elif isinstance(caller.outcome, InferResponse):
                succeeded += 1
                assert caller.outcome.id == str(number)
                assert values(caller.outcome) in ({"Y": [value + 1], "Z": [value * 2]}, {"Y": [7], "Z": [8]})
            else:
                assert caller.error in ("broken", "expired", "full")
        counts = cached.counts()
        assert counts.get("success", 0) == succeeded
        assert counts.get("success", 0) == counts.get("executions", 0) + counts.get("cache_hit", 0)
        cached.assert_idle()
        assert cached.model.executions == []

    asyncio.run(test())
