"""Iterative sequences: rounds of requests, in whatever batches come about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.backend import Placement
from kserve_v2.config import parse_config
from kserve_v2.errors import InternalError, ServingError
from kserve_v2.messages import InferRequest, InferResponse, SequenceStep
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.sequences.rounds import RoundExecution, RoundMerger, goes_on, next_round
from kserve_v2.scheduling.sequences.rules import sequence_rules
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason, ModelStatistics
from kserve_v2.tensors.datatypes import Array

CONFIG = """
name: "M" max_batch_size: 8
input { name: "N" data_type: TYPE_INT32 dims: 1 }
input { name: "SUM_IN" data_type: TYPE_INT32 dims: 1 }
output { name: "SUM" data_type: TYPE_INT32 dims: 1 }
sequence_batching { iterative_sequence: true oldest { } }
"""
CPU = Placement("M_0", "CPU")


def make_spec(*, streams: bool = False) -> ModelSpec:
    config = parse_config(CONFIG, "test")
    config.model_transaction_policy.decoupled = streams
    signature = ModelSignature(config)
    return ModelSpec(
        signature,
        "1",
        (CPU,),
        RoundMerger(RowMerger(signature), signature, streams=streams),
        statistics=ModelStatistics(),
        sequences=sequence_rules(config),
    )


def request(n: int) -> InferRequest:
    inputs: dict[str, Array] = {"N": np.array([[n]], np.int32), "SUM_IN": np.zeros((1, 1), np.int32)}
    return InferRequest("M", inputs, checked=True, sequence=SequenceStep(1, start=True))


class Reply:
    """What becomes of one round."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.ended = 0
        self.error: ServingError | None = None

    def respond(self, response: InferResponse) -> None:
        self.answers.append(int(response.outputs["SUM"][0, 0]))

    def end(self, error: ServingError | None = None) -> None:
        self.ended += 1
        self.error = error


def execute(spec: ModelSpec, requests: Sequence[InferRequest], model: Any) -> list[Reply]:
    replies = [Reply() for _ in requests]
    members = [Pending(each, reply) for each, reply in zip(requests, replies, strict=True)]
    execution = RoundExecution(Batch(members, BatchReason.NO_DELAY, members[0].enqueued_ns), spec, CPU)
    try:
        execution.finish([model(execution.inputs(), execution.requests)], fresh=True)
    except Exception as error:  # noqa: BLE001 - as the instance's thread does
        execution.fail(error)
    execution.settle()
    assert [reply.ended for reply in replies] == [1] * len(replies)
    return replies


def summing(inputs: dict[str, Array], requests: Sequence[InferRequest]) -> dict[str, Array]:
    """n + (n - 1) + … + 1, a summand in each round."""
    total = inputs["SUM_IN"] + inputs["N"]
    for each, n, so_far in zip(requests, inputs["N"], total, strict=True):
        if n[0] > 1:
            each.reschedule({"N": n[None] - 1, "SUM_IN": so_far[None]})
    return {"SUM": total}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_any_batches_give_each_request_its_answer(lengths: list[int], choices: Any, streams: bool) -> None:
    spec = make_spec(streams=streams)
    live = {number: request(n) for number, n in enumerate(lengths)}
    answers: dict[int, list[int]] = {number: [] for number in live}
    executions = 0
    while live:
        batch = choices.sample(sorted(live), choices.randint(1, len(live)))
        executions += 1
        for number, reply in zip(batch, execute(spec, [live[each] for each in batch], summing), strict=True):
            assert reply.error is None
            answers[number] += reply.answers
            if goes_on(live[number]):
                live[number] = next_round(live[number], spec.signature)
                assert live[number].sequence is not None
                assert not live[number].sequence.start
            else:
                del live[number]
    for number, n in enumerate(lengths):
        partial = np.cumsum(range(n, 0, -1)).tolist()
        assert answers[number] == (partial if streams else partial[-1:])
    counted = spec.statistics
    assert (counted.success_count, counted.execution_count) == (len(lengths), executions)
    assert counted.inference_count == sum(lengths)


def test_inputs_that_are_not_named_stay_and_nobody_writes_to_them() -> None:
    spec, first = make_spec(), request(3)
    given: list[Array] = []

    def model(inputs: dict[str, Array], requests: Sequence[InferRequest]) -> dict[str, Array]:
        given.append(inputs["N"])
        requests[0].reschedule({"SUM_IN": np.array([[5]], np.int32)})
        return {}

    execute(spec, [first], model)
    second = next_round(first, spec.signature)
    assert (second.inputs["N"].tolist(), second.inputs["SUM_IN"].tolist()) == ([[3]], [[5]])
    assert not given[0].flags.writeable
    assert not goes_on(second)


def test_a_failed_round_is_the_last_one() -> None:
    def model(inputs: dict[str, Array], requests: Sequence[InferRequest]) -> dict[str, Array]:
        requests[0].reschedule()
        raise InternalError("no")

    first, second = request(1), request(1)
    replies = execute(make_spec(), [first, second], model)
    assert [str(reply.error) for reply in replies] == ["no", "no"]
    assert not goes_on(first)
    with pytest.raises(InternalError, match="cannot be rescheduled"):
        first.reschedule()


def test_who_is_to_be_answered_needs_outputs() -> None:
    def model(inputs: dict[str, Array], requests: Sequence[InferRequest]) -> dict[str, Array]:
        requests[0].reschedule()
        return {}

    replies = execute(make_spec(), [request(1), request(1)], model)
    assert [str(reply.error) for reply in replies] == ["model 'M' gave no output 'SUM', got []"] * 2


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"N": np.zeros((1, 1), np.int64)}, "wrong inputs: .*'N' data-type is 'INT64'"),
        ({"N": np.zeros((1, 2), np.int32)}, "wrong inputs: .*unexpected shape for input 'N'"),
        ({"OTHER": np.zeros((1, 1), np.int32)}, "wrong inputs: .*expected 2 inputs but got 3"),
        (
            {"N": np.zeros((2, 1), np.int32), "SUM_IN": np.zeros((2, 1), np.int32)},
            "was rescheduled with 2 rows, expected 1",
        ),
    ],
)
def test_inputs_that_the_model_does_not_take(inputs: dict[str, Array], text: str) -> None:
    spec, first = make_spec(), request(1)
    assert first.sequence is not None
    first.sequence.next_inputs = dict(inputs)
    with pytest.raises(InternalError, match=text):
        next_round(first, spec.signature)
