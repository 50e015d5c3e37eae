"""Merging requests, checking and splitting answers."""

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.datatypes import Array
from kserve_v2.errors import InternalError
from kserve_v2.scheduling.batch import concatenate, finish_outputs, split
from kserve_v2.signature import ModelSignature


def signature(max_batch_size: int = 8) -> ModelSignature:
    text = f"""
        name: "m" max_batch_size: {max_batch_size}
        output [{{ name: "first" data_type: TYPE_INT32 dims: [2] }}, {{ name: "second" data_type: TYPE_STRING
        dims: [1] }}]
    """
    return ModelSignature(text_format.Parse(text, ModelConfig()))


def outputs(rows: int) -> dict[str, Array]:
    texts = np.empty((rows, 1), dtype=np.object_)
    texts[:, 0] = [b"%d" % n for n in range(rows)]
    return {"second": texts, "first": np.arange(2 * rows, dtype=np.int32).reshape(rows, 2)}


def test_merge_and_split_are_inverse() -> None:
    parts = [np.full((rows, 3), rows, np.float32) for rows in (1, 4, 2)]
    merged = concatenate([{"x": part} for part in parts], [1, 4, 2])
    assert merged["x"].shape == (7, 3)
    cut = split(merged, [1, 4, 2])
    assert [part["x"].tolist() for part in cut] == [part.tolist() for part in parts]


def test_outputs_come_in_declared_order() -> None:
    assert list(finish_outputs(outputs(3), signature(), 3)) == ["first", "second"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"first": None}, "model 'm' gave no output 'first', got ['second']"),
        (
            {"first": np.zeros((3, 2), np.int64)},
            "has data-type INT64, but the model's configuration says INT32",
        ),
        ({"first": np.zeros((3, 2), np.complex64)}, "has data-type complex64, but"),
        ({"first": np.zeros((2, 2), np.int32)}, "has shape [2, 2], expected a batch of 3"),
        ({"first": np.int32(1)[...]}, "has shape [], expected a batch of 3"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error_that_names_the_output(
    change: dict[str, Array | None], text: str
) -> None:
    wrong = {name: array for name, array in {**outputs(3), **change}.items() if array is not None}
    with pytest.raises(InternalError) as error:
        finish_outputs(wrong, signature(), 3)
    assert text in error.value.message


def test_a_model_that_does_not_batch_may_give_any_shape() -> None:
    any_shape = {**outputs(3), "first": np.zeros((5, 5, 5), np.int32)}
    assert finish_outputs(any_shape, signature(max_batch_size=0), 1)["first"].shape == (5, 5, 5)
