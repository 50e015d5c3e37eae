"""Control tensors: kinds, types and values, as the configuration writes them (scheduling.md, part 4)."""

import numpy as np
import pytest

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import SequenceStep
from kserve_v2.scheduling.sequences.controls import Controls

STEPS = [
    SequenceStep(7, start=True),
    SequenceStep(0, ready=False),
    SequenceStep(8, end=True),
    SequenceStep(9, start=True, end=True),
]


def controls(text: str, max_batch_size: int = 4) -> Controls:
    config = parse_config(f"max_batch_size: {max_batch_size} sequence_batching {{ {text} }}", "M")
    config.name = "M"
    return Controls(config)


def control(kind: str, body: str) -> str:
    return f'control_input {{ name: "T" control {{ kind: CONTROL_SEQUENCE_{kind} {body} }} }}'


@pytest.mark.parametrize(
    ("kind", "body", "dtype", "values"),
    [
        ("START", "int32_false_true: [ 0, 1 ]", np.int32, [1, 0, 0, 1]),
        ("START", "int32_false_true: [ 5, -6 ]", np.int32, [-6, 5, 5, -6]),
        ("END", "fp32_false_true: [ 0, 0.5 ]", np.float32, [0, 0, 0.5, 0.5]),
        ("READY", "bool_false_true: [ false, true ]", np.bool_, [True, False, True, True]),
        ("READY", "bool_false_true: [ true, false ]", np.bool_, [False, True, False, False]),
        ("CORRID", "data_type: TYPE_UINT64", np.uint64, [7, 0, 8, 9]),
        ("CORRID", "data_type: TYPE_INT32", np.int32, [7, 0, 8, 9]),
    ],
)
def test_values(kind: str, body: str, dtype: type, values: list[object]) -> None:
    made = controls(control(kind, body)).tensors(STEPS)["T"]
    assert made.dtype == dtype
    assert made.shape == (4, 1)
    assert made.ravel().tolist() == values


def test_texts() -> None:
    steps = [SequenceStep("ä"), SequenceStep(0, ready=False)]
    made = controls(control("CORRID", "data_type: TYPE_STRING")).tensors(steps)["T"]
    assert made.tolist() == [["ä".encode()], [b""]]


def test_the_shape_without_a_batch_dimension() -> None:
    made = controls(control("START", "int32_false_true: [ 0, 1 ]"), 0).tensors(STEPS[:1])["T"]
    assert made.shape == (1,)


def test_there_may_be_none() -> None:
    assert not controls("")
    assert controls("").tensors(STEPS) == {}
    controls("").check("any")


@pytest.mark.parametrize("nothing", [0, ""])
def test_an_id_is_needed(nothing: int | str) -> None:
    with pytest.raises(InvalidArgumentError, match="non-zero or non-empty correlation ID"):
        controls("").check(nothing)


@pytest.mark.parametrize(
    ("datatype", "good", "bad"),
    [
        ("UINT64", 2**64 - 1, "7"),
        ("INT64", 2**63 - 1, 2**63),
        ("UINT32", 2**32 - 1, 2**32),
        ("INT32", 2**31 - 1, 2**40 + 3),
        ("STRING", "x" * 1000, 7),
    ],
)
def test_ids_that_fit_and_others(datatype: str, good: int | str, bad: int | str) -> None:
    made = controls(control("CORRID", f"data_type: TYPE_{datatype}"))
    made.check(good)
    with pytest.raises(InvalidArgumentError):
        made.check(bad)
