"""Trials on functions whose dependence between rows is known."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.scheduling.executing.batching_trial import Finding, Verdict, try_batching
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


def signature(input_type: str = "FP32", dims: str = "4", output_type: str = "FP32") -> ModelSignature:
    text = (
        f'name: "m" max_batch_size: 4 input {{ name: "x" data_type: TYPE_{input_type} dims: [{dims}] }}'
        f'output {{ name: "y" data_type: TYPE_{output_type} dims: [-1] }}'
    )
    return ModelSignature(text_format.Parse(text, ModelConfig()))


def tried(function: Callable[[Array], Array], model: ModelSignature | None = None) -> Finding:
    def execute(tensors: Tensors, request: InferRequest) -> Tensors:
        assert len(tensors["x"]) == request.rows
        return {"y": function(tensors["x"])}

    return try_batching(execute, model or signature())


def softmax(x: Array, axis: int) -> Array:
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def classes(x: Array, axis: int) -> Array:
    """One-hot, of a softmax that is sure of itself."""
    return np.asarray(x == x.max(axis=axis, keepdims=True), np.float32)


@pytest.mark.parametrize(
    ("function", "verdict"),
    [
        (lambda x: 2 * x, Verdict.INDEPENDENT),
        (lambda x: softmax(x, 1), Verdict.INDEPENDENT),
        (lambda x: softmax(x, 0), Verdict.DEPENDENT),
        (lambda x: x - x.mean(axis=0), Verdict.DEPENDENT),
        (lambda x: np.cumsum(x, axis=0), Verdict.DEPENDENT),
        # Little, and little beside large numbers.
        (lambda x: x + np.float32(3e-4) * x.mean(axis=0), Verdict.DEPENDENT),
        (lambda x: np.concatenate([softmax(x, 0), 1e6 * x], axis=1), Verdict.DEPENDENT),
        (lambda x: np.concatenate([np.cumsum(x, axis=0), 1e9 * x], axis=1), Verdict.DEPENDENT),
        (lambda x: x[::-1], Verdict.DEPENDENT),
        (lambda x: np.broadcast_to(x[:1], x.shape), Verdict.DEPENDENT),
        # Where all rows have the same answer, it cannot be told what they do to each other.
        (lambda x: np.full_like(x, np.nan), Verdict.UNKNOWN),
        (lambda x: (x - x.mean(axis=0)) * np.nan, Verdict.UNKNOWN),
        (np.zeros_like, Verdict.UNKNOWN),
        # Some values are tried that are larger than an image's.
        (lambda x: (x > 1000).astype(np.float32), Verdict.INDEPENDENT),
        (lambda x: np.maximum(x.max(axis=0) - 1000, 0) + 0 * x, Verdict.DEPENDENT),
        # A classifier that scales its inputs by what it has seen: values have to be as large for its classes to differ.
        (lambda x: classes((x - 750) / 300, axis=1), Verdict.INDEPENDENT),
        (lambda x: classes((x - 750) / 300, axis=0), Verdict.DEPENDENT),
        (lambda x: (x.sum(axis=1, keepdims=True) > 2e4).astype(np.float32), Verdict.INDEPENDENT),
        # NaN and infinities are answers like others.
        (lambda x: np.where(x > 0, np.nan, x), Verdict.INDEPENDENT),
        (lambda x: np.where(x > 0, np.inf, -np.inf).astype(np.float32), Verdict.INDEPENDENT),
        # Sums in another order differ in their last digits, which are those of the terms and not of the sum.
        (lambda x: (x + 100 * len(x)) - 100 * len(x), Verdict.INDEPENDENT),
        (lambda x: x + np.float32(0.01 * len(x)), Verdict.DEPENDENT),
        # Each row has an answer for each row.
        (lambda x: x @ x.T, Verdict.NOT_ROWS),
        (lambda x: x.T, Verdict.NOT_ROWS),
        (lambda x: x.sum(), Verdict.NOT_ROWS),
        (lambda x: x[:1], Verdict.NOT_ROWS),
        (lambda x: np.argwhere(x > 0).astype(np.float32), Verdict.NOT_ROWS),
    ],
)
def test_verdicts(function: Callable[[Array], Array], verdict: Verdict) -> None:
    finding = tried(function)
    assert finding.verdict is verdict
    assert (finding.reason == "") == (verdict is Verdict.INDEPENDENT)


def test_a_reason_names_the_output_and_the_shapes() -> None:
    assert tried(lambda x: x[:1]).reason == "output 'y' has shape [1, 4] for 2 row(s)"
    assert tried(lambda x: x @ x.T).reason == "output 'y' has shape [2, 2] for two rows, [1, 1] for one"
    assert (
        tried(lambda x: x[::-1]).reason == "output 'y' of two rows together is not that of each of them alone"
    )


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("FP16", np.float16),
        ("BF16", ml_dtypes.bfloat16),
        ("FP64", np.float64),
        ("INT32", np.int32),
        ("BOOL", np.bool_),
    ],
)
@pytest.mark.parametrize("dims", ["1", "2, 3"])
def test_rows_differ_in_every_type(datatype: str, dtype: type, dims: str) -> None:
    """Or a model that mixes rows up would not be found out."""
    model = signature(datatype, dims, datatype)
    assert tried(lambda x: x, model).verdict is Verdict.INDEPENDENT
    assert tried(lambda x: x[::-1].astype(dtype), model).verdict is Verdict.DEPENDENT


@pytest.mark.parametrize(
    ("label", "verdict"),
    [
        (lambda row, rows: b"ham" if row.sum() > 0 else b"spam", Verdict.INDEPENDENT),
        (lambda row, rows: b"ham" if rows[0].sum() > 0 else b"spam", Verdict.DEPENDENT),
    ],
)
def test_labels_that_are_one_text_for_each_row(
    label: Callable[[Array, Array], bytes], verdict: Verdict
) -> None:
    # As classifiers of scikit-learn are exported: one dimension, and no array in a row.
    def labels(rows: Array) -> Array:
        return np.array([label(row, rows) for row in rows], object)

    assert tried(labels, signature(output_type="STRING")).verdict is verdict


def test_texts() -> None:
    model = signature("STRING", "1", "STRING")
    assert tried(lambda x: x, model).verdict is Verdict.INDEPENDENT
    assert tried(lambda x: x[::-1], model).verdict is Verdict.DEPENDENT


def test_variable_dimensions_get_the_first_size_that_the_model_takes() -> None:
    def needs_images(x: Array) -> Array:
        if x.shape[-1] < 100:
            raise ValueError("too small")
        return x.reshape(len(x), -1)[:, :1]

    assert tried(needs_images, signature(dims="3, -1, -1")).verdict is Verdict.INDEPENDENT


def test_a_model_that_takes_no_made_up_inputs_is_not_judged() -> None:
    def refuses(x: Array) -> Array:
        raise SystemExit(3)

    assert tried(refuses) == Finding(Verdict.UNKNOWN, "it does not take made-up inputs: SystemExit: 3")


def test_what_the_first_values_have_shown_stands_if_the_second_ones_are_out_of_range() -> None:
    def index(x: Array) -> Array:
        return np.array([[10.0], [20.0]], np.float32)[x[:, 0]]

    assert tried(index, signature("INT64", "1")).verdict is Verdict.INDEPENDENT


def test_buffers_that_a_model_keeps_are_not_taken_for_equal_answers() -> None:
    buffer = np.empty((2, 4), np.float32)

    def reverse(x: Array) -> Array:
        buffer[: len(x)] = x[::-1]
        return buffer[: len(x)]

    assert tried(reverse).verdict is Verdict.DEPENDENT


def test_inputs_that_are_too_large_are_not_made_up() -> None:
    finding = tried(lambda x: x, signature(dims="65536, 65536"))
    assert finding == Finding(Verdict.UNKNOWN, "its inputs are too large")


def test_a_model_with_some_chance_in_it_is_judged_by_what_is_more_than_that() -> None:
    random = np.random.default_rng(0)
    finding = tried(lambda x: x * (1 + np.float32(1e-6) * random.standard_normal(x.shape).astype(np.float32)))
    assert finding.verdict is Verdict.INDEPENDENT
    assert tried(lambda x: random.standard_normal(x.shape).astype(np.float32)).verdict is Verdict.DEPENDENT


@pytest.mark.parametrize(
    ("seconds", "calls", "verdict"),
    [(0.0, 10, Verdict.INDEPENDENT), (3.0, 7, Verdict.INDEPENDENT), (15.0, 2, Verdict.UNKNOWN)],
)
def test_a_slow_model_is_not_tried_for_long(seconds: float, calls: int, verdict: Verdict) -> None:
    """What the first values have shown stands, if they were through by then."""
    now = made = 0.0

    def execute(tensors: Tensors, request: InferRequest) -> Tensors:
        nonlocal now, made
        now, made = now + seconds, made + 1
        return {"y": tensors["x"]}

    finding = try_batching(execute, signature(), lambda: now)
    assert (finding.verdict, made) == (verdict, calls)
    if verdict is Verdict.UNKNOWN:
        assert finding.reason == "it was not tried for longer than 20 s"
