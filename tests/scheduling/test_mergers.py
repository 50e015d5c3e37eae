"""Ragged, padded and separate batches: what the backend is given, and that each request gets back what is its own."""

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.errors import InternalError, UnsupportedError
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.executing.execution import BatchExecution
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.merging.answers import split_answers
from kserve_v2.scheduling.merging.choice import make_merger
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.merging.ragged import RaggedMerger
from kserve_v2.scheduling.merging.rows import Merger, RowMerger
from kserve_v2.scheduling.merging.separate import SeparateMerger
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason
from kserve_v2.tensors.datatypes import Array
from tests.scheduling.targets import NOBODY

RAGGED = """
  name: "m" backend: "onnxruntime" max_batch_size: 8
  input { name: "X" data_type: TYPE_FP32 dims: [-1, -1] allow_ragged_batch: true }
  input { name: "ROW" data_type: TYPE_INT32 dims: 2 }
  batch_input { kind: BATCH_ELEMENT_COUNT target_name: "COUNT" data_type: TYPE_INT32 source_input: "X" }
  output { name: "BY_ROW" data_type: TYPE_INT32 dims: 2 }
  output { name: "FLAT" data_type: TYPE_FP32 dims: [-1, -1] }
  batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "FLAT" source_input: "X" }
"""
PADDED = """
  name: "m" backend: "onnxruntime" max_batch_size: 8
  input { name: "ids" data_type: TYPE_INT64 dims: -1 }
  input { name: "image" data_type: TYPE_FP32 dims: [-1, 2, -1] }
  input { name: "fixed" data_type: TYPE_INT32 dims: 1 }
  output { name: "tags" data_type: TYPE_INT64 dims: -1 }
  output { name: "pixels" data_type: TYPE_FP32 dims: [-1, 2, -1] }
  output { name: "own" data_type: TYPE_INT32 dims: -1 }
"""
PADDING: dict[str, Any] = {
    "inputs": {"ids": -7, "image": 0.5},
    "lengths": {"N": "ids", "WIDTH": {"input": "image", "dim": 2, "data_type": "FP32", "dims": [1]}},
    "masks": {"MASK": {"input": "ids", "data_type": "BOOL"}},
    "outputs": {"tags": "ids", "pixels": {"0": ["image", 0], "2": ["image", 2]}, "own": None},
}


def config_of(text: str, padding: object = None) -> ModelConfig:
    config: ModelConfig = text_format.Parse(text, ModelConfig())
    if padding is not None:
        config.parameters["pad_variable_dims"].string_value = json.dumps(padding)
    return config


class Model:
    """As much of a model as the choice of a merger looks at."""

    separates_requests = False

    def instance(self, placement: object) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


class SeparateModel(Model):
    separates_requests = True


def members_of(config: ModelConfig, requests: list[dict[str, Array]]) -> list[Pending]:
    """As they come out of the check, which has to find that they can share a batch."""
    signature = ModelSignature(config)
    members = []
    for number, inputs in enumerate(requests):
        request = InferRequest("m", inputs, id=f"r{number}")
        request.rows, request.batch_key = signature.check(request)
        members.append(Pending(request, NOBODY))
    assert len({pending.key for pending in members}) == 1
    return members


def merger_of(config: ModelConfig, model: Model | None = None) -> Merger:
    return make_merger(config, ModelSignature(config), model or Model(), None)


@pytest.mark.parametrize(
    ("text", "padding", "model", "kind"),
    [
        (RAGGED, None, Model(), RaggedMerger),
        (RAGGED, None, SeparateModel(), SeparateMerger),
        (PADDED, PADDING, Model(), PaddedMerger),
        (PADDED, None, Model(), RowMerger),
        # A handler has no use for the sizes of a batch.
        (PADDED.replace("onnxruntime", "python") + RAGGED[RAGGED.index("batch_input") : RAGGED.index("output {")],
         None, Model(), RowMerger),
    ],
)  # fmt: skip
def test_the_merger_is_the_configurations(text: str, padding: object, model: Model, kind: type) -> None:
    config = config_of(text, padding)
    assert type(make_merger(config, ModelSignature(config), model, None)) is kind


# --- ragged ---------------------------------------------------------------------------------------------------------


def ragged_request(tag: int, rows: int = 1, shape: tuple[int, int] = (1, 1)) -> dict[str, Array]:
    first = tag * 1000
    x = np.arange(first, first + rows * shape[0] * shape[1], dtype=np.float32).reshape(rows, *shape)
    return {"X": x, "ROW": np.full((rows, 2), tag, np.int32)}


def test_a_ragged_input_is_flat_and_its_sizes_are_told() -> None:
    config = config_of(RAGGED)
    members = members_of(config, [ragged_request(1, 1, (3, 1)), ragged_request(2, 2, (1, 2))])
    merged = merger_of(config).merge(members)
    assert list(merged) == ["X", "ROW", "COUNT"]
    assert merged["X"].tolist() == [1000, 1001, 1002, 2000, 2001, 2002, 2003]
    assert merged["ROW"].tolist() == [[1, 1], [2, 2], [2, 2]]
    assert merged["COUNT"].tolist() == [3, 4]


_SHAPES = st.lists(
    st.tuples(st.integers(1, 3), st.tuples(st.integers(0, 4), st.integers(0, 4))), min_size=1, max_size=5
)


@given(shapes=_SHAPES)
@settings(max_examples=200, deadline=None)
def test_an_identity_gives_each_request_its_own_whatever_the_shapes(
    shapes: list[tuple[int, tuple[int, int]]],
) -> None:
    config = config_of(RAGGED)
    requests = [ragged_request(tag, rows, shape) for tag, (rows, shape) in enumerate(shapes, start=1)]
    members, merger = members_of(config, requests), merger_of(config)
    merged = merger.merge(members)
    parts = merger.split(merger.check({"FLAT": merged["X"], "BY_ROW": merged["ROW"]}, members), members)
    for inputs, part in zip(requests, parts, strict=True):
        assert list(part) == ["BY_ROW", "FLAT"]
        assert part["FLAT"].shape == inputs["X"].shape
        assert part["FLAT"].tolist() == inputs["X"].tolist()
        assert part["BY_ROW"].tolist() == inputs["ROW"].tolist()


def test_what_varies_in_an_output_is_as_in_its_input_and_the_rest_as_it_is_declared() -> None:
    text = RAGGED.replace(
        '"FLAT" data_type: TYPE_FP32 dims: [-1, -1]', '"FLAT" data_type: TYPE_FP32 dims: [-1, 2]'
    )
    config = config_of(text)
    members = members_of(config, [ragged_request(1, 1, (3, 1)), ragged_request(2, 1, (2, 5))])
    merger = merger_of(config)
    outputs = {"FLAT": np.arange(10, dtype=np.float32), "BY_ROW": np.zeros((2, 2), np.int32)}
    parts = merger.split(merger.check(outputs, members), members)
    assert [part["FLAT"].tolist() for part in parts] == [[[[0, 1], [2, 3], [4, 5]]], [[[6, 7], [8, 9]]]]


def test_reshapes_hold_for_ragged_tensors_too() -> None:
    text = """
      name: "m" max_batch_size: 8
      input { name: "X" data_type: TYPE_FP32 dims: [-1, 2] reshape { shape: [-1, 1, 2] } allow_ragged_batch: true }
      batch_input { kind: BATCH_ITEM_SHAPE target_name: "SHAPE" data_type: TYPE_INT32 source_input: "X" }
      output { name: "Y" data_type: TYPE_FP32 dims: [-1, 2] reshape { shape: [-1, 1, 2] } }
      batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "Y" source_input: "X" }
    """
    config = config_of(text)
    requests = [{"X": np.ones((1, 3, 2), np.float32)}, {"X": np.zeros((2, 1, 2), np.float32)}]
    members, merger = members_of(config, requests), merger_of(config)
    merged = merger.merge(members)
    assert merged["SHAPE"].tolist() == [[3, 1, 2], [1, 1, 2], [1, 1, 2]]
    parts = merger.split(merger.check({"Y": merged["X"]}, members), members)
    assert [part["Y"].tolist() for part in parts] == [inputs["X"].tolist() for inputs in requests]


def check_ragged(outputs: dict[str, Array]) -> Outputs:
    config = config_of(RAGGED)
    members = members_of(config, [ragged_request(1, 2, (2, 1)), ragged_request(2)])
    return merger_of(config).check(outputs, members)


FLAT = np.zeros(5, np.float32)
BY_ROW = np.zeros((3, 2), np.int32)


def test_an_output_with_too_few_rows_cannot_be_split() -> None:
    with pytest.raises(UnsupportedError) as caught:
        check_ragged({"FLAT": FLAT, "BY_ROW": BY_ROW[:2]})
    assert caught.value.message == (
        "[request id: r0] failed to split the output tensor 'BY_ROW' in responses: expected batch size of at least 3 in "
        "model output, got 2"
    )


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"FLAT": FLAT}, "gave no output 'BY_ROW'"),
        ({"BY_ROW": BY_ROW}, "gave no output 'FLAT'"),
        (
            {"FLAT": FLAT, "BY_ROW": np.zeros((4, 2), np.int32)},
            "expected a batch of 3 .* needs a batch_output",
        ),
        (
            {"FLAT": FLAT[:4], "BY_ROW": BY_ROW},
            "has 4 elements, but by the shapes of input 'X' it should have 5",
        ),
        ({"FLAT": np.zeros(6, np.float32), "BY_ROW": BY_ROW}, "has 6 elements"),
        ({"FLAT": FLAT.astype(np.float64), "BY_ROW": BY_ROW}, "has data-type FP64"),
    ],
)
def test_an_output_that_cannot_be_cut_is_refused(outputs: dict[str, Array], message: str) -> None:
    with pytest.raises(InternalError, match=message):
        check_ragged(outputs)


def test_requests_with_other_inputs_do_not_share_a_ragged_batch() -> None:
    text = RAGGED.replace(
        '"ROW" data_type: TYPE_INT32 dims: 2', '"ROW" data_type: TYPE_INT32 dims: -1 optional: true'
    )
    signature = ModelSignature(config_of(text))

    def key(inputs: dict[str, Array]) -> object:
        return signature.check(InferRequest("m", inputs))[1]

    one, other = ragged_request(1), ragged_request(2, 1, (4, 4))
    assert key(one) == key(other)
    assert key({"X": one["X"]}) != key(one)
    assert key({**one, "ROW": np.zeros((1, 3), np.int32)}) != key(one)
    merger = merger_of(config_of(text))
    members = [Pending(InferRequest("m", inputs), NOBODY) for inputs in (one, {"X": one["X"]})]
    with pytest.raises(InternalError, match="cannot be merged"):
        merger.merge(members)


# --- padded ---------------------------------------------------------------------------------------------------------


def padded_request(tag: int, rows: int, length: int, height: int, width: int) -> dict[str, Array]:
    return {
        "ids": np.full((rows, length), tag, np.int64),
        "image": np.full((rows, height, 2, width), tag, np.float32),
        "fixed": np.full((rows, 1), tag, np.int32),
    }


def test_a_batch_is_padded_and_its_lengths_are_told() -> None:
    config = config_of(PADDED, PADDING)
    members = members_of(config, [padded_request(1, 1, 3, 1, 2), padded_request(2, 2, 1, 2, 1)])
    merger = merger_of(config)
    assert isinstance(merger, PaddedMerger)
    merged = merger.merge(members)
    # Of 9 ids 5 were sent, and of 24 pixels 4 and 8.
    assert (merger.elements.given, merger.elements.padding) == (9 + 24, 4 + 12)
    assert list(merged) == ["ids", "image", "fixed", "N", "WIDTH", "MASK"]
    assert merged["ids"].tolist() == [[1, 1, 1], [2, -7, -7], [2, -7, -7]]
    assert merged["image"].shape == (3, 2, 2, 2)
    assert merged["image"][0].tolist() == [[[1, 1], [1, 1]], [[0.5, 0.5], [0.5, 0.5]]]
    assert merged["image"][1].tolist() == [[[2, 0.5], [2, 0.5]], [[2, 0.5], [2, 0.5]]]
    assert merged["fixed"].tolist() == [[1], [2], [2]]
    assert merged["N"].dtype == np.int64
    assert merged["N"].tolist() == [3, 1, 1]
    assert merged["WIDTH"].dtype == np.float32
    assert merged["WIDTH"].tolist() == [[2], [1], [1]]
    assert merged["MASK"].tolist() == [[True, True, True], [True, False, False], [True, False, False]]


_SIZES = st.tuples(st.integers(1, 2), *[st.integers(0, 4)] * 3)


@given(sizes=st.lists(_SIZES, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_padding_and_cutting_leave_nothing_behind(sizes: list[tuple[int, int, int, int]]) -> None:
    config = config_of(PADDED, PADDING)
    requests = [padded_request(tag, *size) for tag, size in enumerate(sizes, start=1)]
    members, merger = members_of(config, requests), merger_of(config)
    merged = merger.merge(members)
    outputs = {"tags": merged["ids"], "pixels": merged["image"], "own": merged["fixed"]}
    parts = merger.split(merger.check(outputs, members), members)
    for inputs, part in zip(requests, parts, strict=True):
        for name, source in (("tags", "ids"), ("pixels", "image"), ("own", "fixed")):
            assert part[name].shape == inputs[source].shape
            assert part[name].tolist() == inputs[source].tolist()
            assert part[name].flags.c_contiguous


@pytest.mark.parametrize("lengths", [[3], [3, 1]])
def test_an_output_that_is_not_as_long_as_its_input_is_no_guess(lengths: list[int]) -> None:
    config = config_of(PADDED, PADDING)
    members = members_of(config, [padded_request(1, 1, length, 1, 1) for length in lengths])
    rows = len(lengths)
    outputs = {
        "tags": np.zeros((rows, 2), np.int64),
        "pixels": np.zeros((rows, 1, 2, 1), np.float32),
        "own": np.zeros((rows, 9), np.int32),
    }
    with pytest.raises(
        InternalError, match=r"'tags' .* has size 2 in dimension 0, but input 'ids', .* has 3"
    ):
        merger_of(config).check(outputs, members)


def test_one_long_request_does_not_make_all_others_as_large() -> None:
    config = config_of(PADDED, PADDING)
    long = {**padded_request(1, 1, 1, 1, 1), "image": np.zeros((1, 1, 2, 2**22), np.float32)}
    members = members_of(config, [long, *(padded_request(2, 1, 1, 1, 1) for _ in range(7))])
    with pytest.raises(InternalError, match="bytes of padding"):
        merger_of(config).merge(members)


def test_texts_are_padded_too() -> None:
    text = 'name: "m" max_batch_size: 4 input { name: "t" data_type: TYPE_STRING dims: -1 }'
    config = config_of(text, {"inputs": {"t": "<pad>"}})
    requests = [{"t": np.array([[b"a", b"b"]], object)}, {"t": np.array([[b"c"]], object)}]
    merged = merger_of(config).merge(members_of(config, requests))
    assert merged["t"].tolist() == [[b"a", b"b"], [b"c", b"<pad>"]]


# --- separate -------------------------------------------------------------------------------------------------------


def test_each_request_goes_and_comes_by_itself() -> None:
    config = config_of(RAGGED)
    requests = [ragged_request(1, 1, (3, 1)), ragged_request(2, 2, (1, 2))]
    members, merger = members_of(config, requests), merger_of(config, SeparateModel())
    merged: Any = merger.merge(members)
    assert [each["X"].shape for each in merged] == [(1, 3, 1), (2, 1, 2)]
    # What the model writes to must not be what is executed again if the batch fails.
    assert not any(array.flags.writeable for each in merged for array in each.values())
    assert all(array.flags.writeable for inputs in requests for array in inputs.values())
    answers: Any = [{"BY_ROW": each["ROW"], "FLAT": each["X"]} for each in merged]
    parts = split_answers(answers, members, merger, "m")
    for inputs, part in zip(requests, parts, strict=True):
        assert part["FLAT"].tolist() == inputs["X"].tolist()
        assert part["BY_ROW"].tolist() == inputs["ROW"].tolist()


def test_answers_that_share_memory_with_each_other_or_the_model_are_copied() -> None:
    config = config_of(RAGGED)
    members = members_of(config, [ragged_request(1), ragged_request(2)])
    placement = Placement("m_0", "CPU")
    signature = ModelSignature(config)
    spec = ModelSpec(signature, "1", (placement,), make_merger(config, signature, SeparateModel(), None))
    execution = BatchExecution(Batch(members, BatchReason.FULL, 0), spec, placement)
    execution.inputs()
    kept = {"FLAT": np.ones((1, 1, 1), np.float32), "BY_ROW": np.ones((1, 2), np.int32)}
    answers: Any = [dict(kept), dict(kept)]
    execution.finish([answers], fresh=False)
    for array in kept.values():
        array[...] = 7
    assert [each["FLAT"].tolist() for each in execution.outputs] == [[[[1]]], [[[1]]]]
    execution.outputs[0]["BY_ROW"][...] = 3
    assert execution.outputs[1]["BY_ROW"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([{}], "gave 1 answers to 2 requests"),
        ({"FLAT": 1}, "gave dict to 2 requests, expected a list with one dict for each"),
        ([{}, {}], "gave no output 'BY_ROW'"),
    ],
)
def test_answers_that_are_not_one_for_each(answers: Any, message: str) -> None:
    config = config_of(RAGGED)
    members = members_of(config, [ragged_request(1), ragged_request(2)])
    with pytest.raises(InternalError, match=message):
        split_answers(answers, members, merger_of(config, SeparateModel()), "m")
