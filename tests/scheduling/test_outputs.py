"""Checking answers against the model's configuration."""

from math import prod
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InternalError
from kserve_v2.scheduling.merging.outputs import finish_outputs, finish_present_outputs, same_elements
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


def signature(max_batch_size: int = 8, first: str = "dims: [2]") -> ModelSignature:
    text = f"""
        name: "m" max_batch_size: {max_batch_size}
        output [{{ name: "first" data_type: TYPE_INT32 {first} }}, {{ name: "second" data_type: TYPE_STRING
        dims: [1] }}]
    """
    return ModelSignature(text_format.Parse(text, ModelConfig()))


def outputs(rows: int) -> dict[str, Array]:
    texts = np.empty((rows, 1), dtype=np.object_)
    texts[:, 0] = [b"%d" % n for n in range(rows)]
    return {"second": texts, "first": np.arange(2 * rows, dtype=np.int32).reshape(rows, 2)}


def test_outputs_come_in_declared_order() -> None:
    assert list(finish_outputs(outputs(3), signature(), 3)) == ["first", "second"]


def test_subclasses_of_arrays_are_taken_for_arrays() -> None:
    class Strange(np.ndarray[Any, Any]):
        def __getitem__(self, key: object) -> Any:
            raise ValueError("no parts")

    strange = np.array([[1, 2], [3, 4], [5, 6]], np.int32).view(Strange)
    for finish in (finish_outputs, finish_present_outputs):
        first = finish({**outputs(3), "first": strange}, signature(), 3)["first"]
        assert (type(first), first.tolist()) == (np.ndarray, [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("given", [[], "text", None, 3, [("first", 1)]])
def test_what_is_no_mapping(given: Any) -> None:
    for finish in (finish_outputs, finish_present_outputs):
        with pytest.raises(InternalError, match="expected a dict of ") as error:
            finish(given, signature(), 3)
        assert error.value.message.startswith(f"model 'm' gave {type(given).__name__}, ")


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
        (
            {"first": np.zeros((3, 4), np.int32)},
            "output 'first' of model 'm' has shape [3, 4], but the model's configuration says [-1, 2]",
        ),
        ({"first": np.zeros((3,), np.int32)}, "has shape [3], but the model's configuration says [-1, 2]"),
        ({"first": np.ma.zeros((3, 2), np.int32)}, "is MaskedArray, expected a numpy array"),
        ({"first": [[1, 2]] * 3}, "is list, expected a numpy array"),
        ({"first": np.int32(3)}, "is int32, expected a numpy array"),
        (
            {"second": np.array([["a"], [b"b"], [3]], np.object_)},
            "has elements of type int, str, expected bytes",
        ),
        ({"second": np.array([[b"a"]] * 3)}, "has data-type |S1, but the model's configuration says BYTES"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error_that_names_the_output(
    change: dict[str, Array | None], text: str
) -> None:
    wrong = {name: array for name, array in {**outputs(3), **change}.items() if array is not None}
    with pytest.raises(InternalError) as error:
        finish_outputs(wrong, signature(), 3)
    assert text in error.value.message
    if len(wrong) == 2:
        with pytest.raises(InternalError) as error:
            finish_present_outputs(wrong, signature(), 3)
        assert text in error.value.message


@pytest.mark.parametrize(
    ("max_batch_size", "dims", "got", "shape"),
    [
        (8, "dims: [1]", (3,), (3, 1)),
        (8, "dims: [-1]", (3,), (3, 1)),
        (8, "dims: [2, 1]", (3, 2), (3, 2, 1)),
        (8, "dims: [2, -1]", (3, 2), (3, 2, 1)),
        (8, "dims: [2]", (3, 1, 2), (3, 2)),
        (8, "dims: [-1]", (3, 1, 2), (3, 2)),
        (0, "dims: [1]", (), (1,)),
        (0, "dims: [-1]", (), (1,)),
        (0, "dims: [-1]", (3, 1), (3,)),
        (0, "dims: [-1, 4]", (1, 0, 4), (0, 4)),
        # What the backend gives has the shape of `reshape`, and what is sent that of `dims`.
        (8, "dims: [1] reshape { shape: [] }", (3,), (3, 1)),
        (8, "dims: [1] reshape { shape: [] }", (3, 1), (3, 1)),
        (8, "dims: [6] reshape { shape: [2, 3] }", (3, 2, 3, 1), (3, 6)),
    ],
)
def test_dimensions_of_size_1_come_and_go(
    max_batch_size: int, dims: str, got: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    model = signature(max_batch_size, dims)
    rows = got[0] if max_batch_size else 1
    array = np.arange(prod(got), dtype=np.int32).reshape(got)
    texts = np.full((rows, 1) if max_batch_size else (1,), b"", object)
    for finished in (
        finish_outputs({"first": array, "second": texts}, model, rows),
        finish_present_outputs({"first": array}, model, rows),
    ):
        assert finished["first"].shape == shape
        assert finished["first"].ravel().tolist() == array.ravel().tolist()


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((6,), (2, 3)),
        ((2, 3), (6,)),
        ((2, 3), (3, 2)),
        ((2, 3), (2, 4)),
        ((3,), (2,)),
        ((), (2,)),
        # Whether it is [1, 5] or [5, 1] is not for us to say.
        ((5,), (-1, -1)),
        ((5,), (0, -1)),
        ((7,), (2, -1)),
    ],
)
def test_no_guess_is_made(shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    assert same_elements(shape, dims) is None


sizes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(sizes, sizes, st.sets(st.integers(0, 3)))
def test_a_shape_that_is_given_fits_and_leaves_each_element_in_its_place(
    shape: tuple[int, ...], wanted: tuple[int, ...], varying: set[int]
) -> None:
    dims = tuple(-1 if index in varying else size for index, size in enumerate(wanted))
    found = same_elements(shape, dims)
    if found is None:
        return
    assert all(dim in (-1, size) for size, dim in zip(found, dims, strict=True))
    array = np.arange(prod(shape)).reshape(shape)
    assert array.squeeze().tolist() == array.reshape(found).squeeze().tolist()


def test_no_more_batch_sizes_are_remembered_than_need_be() -> None:
    model = signature(1_000_000)
    for rows in range(1, 2000):
        assert finish_outputs(outputs(rows), model, rows)["first"].shape == (rows, 2)
    assert len(model.expected_outputs) <= 256


def test_a_shape_that_was_right_once_is_right_again_and_no_other_is() -> None:
    model = signature(8, "dims: [-1, 2]")
    texts = np.full((3, 1), b"", object)
    for size in (*range(200), *range(200)):
        array = np.zeros((3, size, 2), np.int32)
        assert finish_outputs({"first": array, "second": texts}, model, 3)["first"] is array
        with pytest.raises(InternalError):
            finish_outputs({"first": np.zeros((3, size, 3), np.int32), "second": texts}, model, 3)
        with pytest.raises(InternalError):
            finish_outputs({"first": np.zeros((4, size, 2), np.int32), "second": texts}, model, 3)
    assert all(len(output.shapes) <= 64 for output in model.expected_outputs[3])


@pytest.mark.parametrize("rows", [1, 2])
def test_texts_are_looked_at_though_their_shape_was_right_once(rows: int) -> None:
    made = signature()
    finish_outputs(outputs(rows), made, rows)
    for wrong in ("a", bytearray(b"a"), 1, type("Text", (bytes,), {})(b"a")):
        given = outputs(rows)
        given["second"][-1, 0] = wrong
        with pytest.raises(
            InternalError, match=f"has elements of type {type(wrong).__name__}, expected bytes"
        ):
            finish_outputs(given, made, rows)
    right = outputs(rows)
    assert finish_outputs(right, made, rows)["second"] is right["second"]
