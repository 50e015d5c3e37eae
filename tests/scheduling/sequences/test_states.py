"""Implicit states: what a model gives, the next step of the same sequence is given, and no other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import parse_config
from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest, InferResponse, SequenceStep, Tensors
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.sequences.states import StateMerger, StateTensor, state_key, zeros
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BY_NAME, Array


class _Nobody:
    def respond(self, response: InferResponse) -> None: ...

    def end(self, error: object = None) -> None: ...


def config(outputs: str = "OUT", batch: int = 4) -> ModelConfig:
    declared = " ".join(
        f'output {{ name: "{name}" data_type: TYPE_INT32 dims: 1 }}' for name in outputs.split()
    )
    return parse_config(
        f'name: "M" max_batch_size: {batch} input {{ name: "IN" data_type: TYPE_INT32 dims: 1 }} {declared}',
        "test",
    )


def state(
    first: int = 0, *, datatype: str = "INT32", dims: tuple[int, ...] = (1,), batched: bool = True
) -> StateTensor:
    tensor = TensorSignature("SO", BY_NAME[datatype], dims)
    shape = ((1,) if batched else ()) + tuple(max(dim, 1) for dim in dims)
    initial = zeros(tensor, shape)
    if first:
        initial[...] = first
    initial.flags.writeable = False
    return StateTensor("S", tensor, initial)


def merger(states: Sequence[StateTensor], outputs: str = "OUT", batch: int = 4) -> StateMerger:
    signature = ModelSignature(config(outputs, batch))
    return StateMerger(RowMerger(signature), states, signature)


def step(value: int, kept: dict[str, Array], *, ready: bool = True, batched: bool = True) -> Pending:
    inputs = {"IN": np.full((1, 1) if batched else (1,), value, np.int32)}
    request = InferRequest("M", inputs, sequence=SequenceStep(1, ready=ready, state=kept))
    return Pending(request, _Nobody())


def add(inputs: Tensors) -> dict[str, Array]:
    """A model whose state is the sum of what it was given."""
    total = inputs["IN"] + inputs["S"]
    return {"OUT": total.copy(), "SO": total}


def execute(by: StateMerger, members: Sequence[Pending], model: Any = add) -> list[list[Any]]:
    outputs = by.check(model(by.merge(members)), members)
    return [part["OUT"].ravel().tolist() for part in by.split(outputs, members)]


def test_a_state_goes_from_step_to_step() -> None:
    adding, kept = merger([state(10)]), dict[str, Array]()
    assert [execute(adding, [step(value, kept)]) for value in (1, 2, 3)] == [[[11]], [[13]], [[16]]]
    assert execute(adding, [step(5, {})]) == [[15]]


def test_a_model_that_does_not_batch() -> None:
    adding, kept = merger([state(10, batched=False)], batch=0), dict[str, Array]()
    assert [execute(adding, [step(value, kept, batched=False)]) for value in (1, 2)] == [[[11]], [[13]]]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(-99, 99)), min_size=1, max_size=6), max_size=20
    )
)
def test_sequences_never_mix(batches: list[list[tuple[int, int]]]) -> None:
    """Whoever shares an execution with whom: the answers are the sums of each sequence."""
    adding = merger([state()], batch=6)
    kept: dict[int, dict[str, Array]] = {number: {} for number in range(6)}
    sums = dict.fromkeys(range(6), 0)
    for batch in batches:
        steps = dict(batch)
        for number, value in steps.items():
            sums[number] += value
        answers = execute(adding, [step(value, kept[number]) for number, value in steps.items()])
        assert answers == [[sums[number]] for number in steps]


def test_who_stands_in_for_nobody_has_zeros_and_keeps_nothing() -> None:
    adding, kept, nothing = merger([state(10)]), dict[str, Array](), dict[str, Array]()
    members = [step(0, nothing, ready=False), step(1, kept)]
    assert adding.merge(members)["S"].tolist() == [[0], [10]]
    assert execute(adding, members) == [[0], [11]]
    assert nothing == {}


def test_a_state_that_grows() -> None:
    def append(inputs: Tensors) -> dict[str, Array]:
        longer = np.concatenate([inputs["S"], inputs["IN"]], axis=1)
        return {"OUT": longer.sum(axis=1, keepdims=True, dtype=np.int32), "SO": longer}

    growing = state(dims=(-1,))
    by, one, other = merger([growing]), dict[str, Array](), dict[str, Array]()
    assert execute(by, [step(1, one), step(7, other)], append) == [[1], [7]]
    assert execute(by, [step(2, one)], append) == [[3]]
    assert one["S"].tolist() == [[0, 1, 2]]
    first, second = step(3, one), step(4, other)
    keys = [state_key([growing], SequenceStep(1, state=kept)) for kept in (one, other, {})]
    assert keys == [((1, 3),), ((1, 2),), ((1, 1),)]
    with pytest.raises(InternalError, match="states 'S' of different sizes cannot be merged"):
        by.merge([first, second])
    # The size of one that stands in is that of the others.
    assert by.merge([first, step(0, {}, ready=False)])["S"].tolist() == [[0, 1, 2], [0, 0, 0]]


def test_states_of_fixed_size_need_no_key() -> None:
    assert state_key([state()], SequenceStep(1)) is None


def test_texts() -> None:
    def shout(inputs: Tensors) -> dict[str, Array]:
        louder = inputs["S"] + np.full(inputs["S"].shape, b"!", object)
        return {"OUT": inputs["IN"], "SO": louder}

    by, kept = merger([state(datatype="BYTES")]), dict[str, Array]()
    for _ in range(3):
        execute(by, [step(1, kept), step(0, {}, ready=False)], shout)
    assert kept["S"].tolist() == [[b"!!!"]]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"OUT": np.zeros((1, 1), np.int32)},
            "model 'M' gave no output 'SO', the state of its sequences, got ['OUT']",
        ),
        (
            {"OUT": np.zeros((1, 1), np.int32), "SO": np.zeros((1, 1), np.int64)},
            "output 'SO' of model 'M' has data-type INT64, but the model's configuration says INT32",
        ),
        (
            {"OUT": np.zeros((1, 1), np.int32), "SO": np.zeros((1, 2), np.int32)},
            "output 'SO' of model 'M' has shape [1, 2], but the model's configuration says [-1, 1]; a dimension that "
            "varies is -1 there",
        ),
        (
            {"OUT": np.zeros((1, 1), np.int32), "SO": np.zeros((2, 1), np.int32)},
            "output 'SO' of model 'M' has shape [2, 1], expected a batch of 1 in its first dimension; a model with "
            "max_batch_size > 0 answers one row per row",
        ),
    ],
)
def test_what_a_model_gives_instead_of_its_state(outputs: dict[str, Array], message: str) -> None:
    adding, kept = merger([state(10)]), dict[str, Array]()
    execute(adding, [step(1, kept)])
    with pytest.raises(InternalError) as raised:
        execute(adding, [step(1, kept)], lambda _: outputs)
    assert raised.value.message == message
    assert kept["S"].tolist() == [[11]]


def test_a_failed_execution_leaves_the_state_as_it_was() -> None:
    def spoil(inputs: Tensors) -> dict[str, Array]:
        # A handler is given a copy of what it may not write to; whoever tries to write there fails.
        with pytest.raises(ValueError, match="read-only"):
            inputs["S"][...] = 99
        raise InternalError("no")

    adding, kept = merger([state(10)]), dict[str, Array]()
    for _ in range(2):
        with pytest.raises(InternalError, match="no"):
            execute(adding, [step(1, kept)], spoil)
        execute(adding, [step(1, kept)])
    assert kept["S"].tolist() == [[12]]


def test_a_state_that_is_answered_as_well_is_not_the_answers_memory() -> None:
    by, kept = merger([state(10)], outputs="OUT SO"), dict[str, Array]()
    members = [step(1, kept)]
    (answer,) = by.split(by.check(add(by.merge(members)), members), members)
    assert sorted(answer) == ["OUT", "SO"]
    answer["SO"][...] = 99
    assert kept["S"].tolist() == [[11]]


def test_the_state_of_one_holds_no_memory_of_the_others() -> None:
    adding, kept = merger([state()]), dict[str, Array]()
    execute(adding, [step(1, {}), step(2, kept), step(3, {})])
    base = kept["S"].base
    assert kept["S"].tolist() == [[2]]
    assert base is None or base.size == 1
