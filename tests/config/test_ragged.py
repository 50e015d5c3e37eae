"""What is wrong with `allow_ragged_batch`, `batch_input`, `batch_output` and `pad_variable_dims`: field paths and texts."""

import json
from typing import Any

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import fill_defaults, ignored_fields, infer_backend, parse_config, validate
from kserve_v2.config.hidden import hidden_inputs
from kserve_v2.config.padding import DimOf, padding_of

X = 'input { name: "X" data_type: TYPE_FP32 dims: -1 allow_ragged_batch: true } '
OUT = 'output { name: "OUT" data_type: TYPE_FP32 dims: -1 } '
BASE = "max_batch_size: 8 dynamic_batching { } " + X + OUT


def config_of(text: str, backend: str = "onnxruntime") -> ModelConfig:
    config = parse_config(f'backend: "{backend}" {text}', "config.pbtxt")
    infer_backend(config, "m", ["model.onnx"])
    fill_defaults(config, gpu_count=0)
    return config


def problems(text: str, backend: str = "onnxruntime") -> list[tuple[str, str]]:
    return [(each.path, each.message) for each in validate(config_of(text, backend), gpu_count=0)]


def batch_input(kind: str = "BATCH_ELEMENT_COUNT", **fields: str) -> str:
    given = {
        "target_name": '"COUNT"', "data_type": "TYPE_FP32", "source_input": '"X"', **fields
    }  # fmt: skip
    return f"batch_input {{ kind: {kind} {' '.join(f'{key}: {value}' for key, value in given.items())} }} "


def batch_output(**fields: str) -> str:
    given = {"target_name": '"OUT"', "source_input": '"X"', **fields}
    text = " ".join(f"{key}: {value}" for key, value in given.items())
    return f"batch_output {{ kind: BATCH_SCATTER_WITH_INPUT_SHAPE {text} }} "


KINDS = [
    "BATCH_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
    "BATCH_ITEM_SHAPE",
    "BATCH_ITEM_SHAPE_FLATTEN",
]


@pytest.mark.parametrize("data_type", ["TYPE_FP32", "TYPE_INT32"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_served(kind: str, data_type: str) -> None:
    text = BASE + batch_input(kind, data_type=data_type) + batch_output()
    assert problems(text) == []
    assert ignored_fields(config_of(text)) == []
    [hidden] = hidden_inputs(config_of(text))
    assert hidden.name == "COUNT"
    # A number for each row has no dimensions behind the batch.
    assert hidden.HasField("reshape") is (kind != "BATCH_ITEM_SHAPE")


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (BASE + batch_input(source_input='["X", "X"]'), "batch_input[0].source_input",
         "batch input kind 'BATCH_ELEMENT_COUNT' expects 1 source input, got 2"),
        (BASE + batch_input(source_input="[]"), "batch_input[0].source_input",
         "batch input kind 'BATCH_ELEMENT_COUNT' expects 1 source input, got 0"),
        (BASE + batch_input(source_input='"NO"'), "batch_input[0].source_input",
         "unknown source input name 'NO'"),
        (BASE + batch_input(data_type="TYPE_INT64"), "batch_input[0].data_type",
         "batch input data type must be TYPE_INT32 or TYPE_FP32"),
        (BASE + batch_input(target_name="[]"), "batch_input[0].target_name",
         "names no input of the model that gets the value"),
        (BASE + batch_input(target_name='"X"'), "batch_input[0].target_name",
         "clients send 'X': remove it from the configuration's inputs, or from here"),
        (BASE + batch_output(target_name="[]"), "batch_output[0].target_name",
         "names no output of the model that is cut"),
        (BASE + batch_output(source_input='"NO"'), "batch_output[0].source_input",
         "unknown source input name 'NO'"),
        (BASE + batch_output(source_input='["X", "X"]'), "batch_output[0].source_input",
         "batch output kind 'BATCH_SCATTER_WITH_INPUT_SHAPE' expects 1 source input, got 2"),
        (BASE + batch_output(target_name='"NO"'), "batch_output[0].target_name",
         "unknown target output name 'NO'"),
        (BASE.replace("dims: -1 }", "dims: [2, -1] }") + batch_output(), "batch_output[0].target_name",
         "dimension 1 of 'OUT' is that of 'X', which has only 1 dimensions"),
        (BASE.replace("allow_ragged", "optional: true allow_ragged"), "input[0].allow_ragged_batch",
         "unable to load model 'm', configuration expects model provides input with shape [-1] for ragged input 'X', "
         "which is not supported for optional input"),
        (BASE.replace("dynamic_batching", "sequence_batching"), "input[0].allow_ragged_batch",
         "requests of sequences are joined by rows: leave out sequence_batching, or this"),
        (X + OUT, "input[0].allow_ragged_batch", "there are no batches: max_batch_size is 0"),
        (BASE + 'parameters { key: "try_batching" value { string_value: "true" } }', "parameters['try_batching']",
         "a ragged batch is not made of rows behind rows: there is nothing to try"),
        (BASE + 'parameters { key: "split_large_requests" value { string_value: "true" } }',
         "parameters['split_large_requests']",
         "a request is one entry of a ragged batch, however many rows it has: it cannot be cut"),
    ],
)  # fmt: skip
def test_problems_of_ragged_batches(text: str, path: str, message: str) -> None:
    assert (path, message) in problems(text)


def test_a_target_that_is_named_twice_is_told_once() -> None:
    found = problems(BASE + batch_output(target_name='["OUT", "OUT"]'))
    text = "target output name 'OUT' can only be specified once"
    assert found.count(("batch_output[0].target_name", text)) == 1


def test_all_problems_are_reported_at_once() -> None:
    text = BASE + batch_input(source_input='"NO"', data_type="TYPE_INT64") + batch_output(target_name='"NO"')
    assert len(problems(text)) == 3
    twice = BASE + batch_output() + batch_output()
    assert problems(twice) == [
        (f"batch_output[{index}].target_name", "target output name 'OUT' can only be specified once")
        for index in range(2)
    ]


def test_a_handler_has_no_use_for_sizes_of_batches() -> None:
    [ignored] = ignored_fields(config_of(BASE + batch_input(), "python"))
    assert ignored.path == "batch_input"


# --- padding --------------------------------------------------------------------------------------------------------

IDS = 'input { name: "ids" data_type: TYPE_INT64 dims: -1 } '
IMAGE = 'input { name: "image" data_type: TYPE_FP32 dims: [3, -1, -1] } '
FIXED = 'input { name: "fixed" data_type: TYPE_FP32 dims: 2 } '
MAYBE = 'input { name: "maybe" data_type: TYPE_INT64 dims: -1 optional: true } '
TAGS = 'output { name: "tags" data_type: TYPE_FP32 dims: [-1, 4] } '
LABEL = 'output { name: "label" data_type: TYPE_FP32 dims: 4 } '
TEXT = 'input { name: "text" data_type: TYPE_STRING dims: -1 } '
PATH = "parameters['pad_variable_dims']"


def padded(value: object, tensors: str = IDS + IMAGE + FIXED + MAYBE + TAGS + LABEL) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    quoted = json.dumps(text)
    return (
        f"max_batch_size: 8 dynamic_batching {{ }} {tensors}"
        f'parameters {{ key: "pad_variable_dims" value {{ string_value: {quoted} }} }}'
    )


VALID: dict[str, Any] = {"inputs": {"ids": 0}, "outputs": {"tags": "ids"}}


def test_a_padding_is_read() -> None:
    value = {
        "inputs": {"ids": -1, "image": 0.5, "maybe": 7},
        "lengths": {
            "N": "ids",
            "H": {"input": "image", "dim": 1, "data_type": "INT32", "dims": [1]},
        },
        "masks": {"MASK": {"input": "ids", "data_type": "BOOL"}},
        "outputs": {"tags": {"0": ["image", 2]}},
    }
    assert problems(padded(value)) == []
    config = config_of(padded(value))
    assert ignored_fields(config) == []
    padding = padding_of(config)
    assert padding is not None
    assert padding.values == {"ids": -1, "image": 0.5, "maybe": 7}
    assert [(each.target, each.of, each.datatype.name, each.shape) for each in padding.added] == [
        ("N", DimOf("ids", 0), "INT64", (-1,)),
        ("H", DimOf("image", 1), "INT32", (-1, 1)),
        ("MASK", DimOf("ids", 0), "BOOL", (-1, -1)),
    ]
    assert padding.cuts == {"tags": {0: DimOf("image", 2)}}
    assert [each.name for each in hidden_inputs(config)] == ["N", "H", "MASK"]


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ("ids=0", "", "expected a JSON object"),
        ("[1]", "", "expected a JSON object like"),
        ('{"inputs": {"ids": 0, "ids": 1}}', "", "'ids' is there twice"),
        ({**VALID, "input": {}}, "", "has no option 'input'; expected inputs, lengths, masks, outputs"),
        ({**VALID, "lengths": "N"}, ".lengths", 'expected an object, got "N"'),
        ({"outputs": {"tags": None}}, ".inputs", "names no input to pad"),
        ({"inputs": {"no": 0}}, ".inputs['no']", "the model has no input of that name; it has ids, image"),
        ({"inputs": {"fixed": 0}}, ".inputs['fixed']", "has no variable dimension: its dims are [2]"),
        ({"inputs": {"ids": 0.5}}, ".inputs['ids']", "cannot be padded with 0.5: expected an integer from"),
        ({"inputs": {"ids": 2**63}}, ".inputs['ids']", "cannot be padded with"),
        ({"inputs": {"ids": True}}, ".inputs['ids']", "cannot be padded with true: expected a number"),
        ({"inputs": {"ids": "0"}}, ".inputs['ids']", "expected a number"),
        ({"inputs": {"image": 1e39}}, ".inputs['image']", "it is too large for FP32"),
        ({"inputs": {"image": 10**400}}, ".inputs['image']", "it is too large for FP32"),
        ({"inputs": {"ids": 0}}, ".outputs['tags']", "is missing: name the input that dimension 0"),
        ({**VALID, "outputs": {"tags": "image"}}, ".outputs['tags']", "'image' is not padded: name it in"),
        ({**VALID, "outputs": {"tags": 3}}, ".outputs['tags']", "expected the name of an input, got 3"),
        ({"inputs": {"image": 0}, "outputs": {"tags": "image"}}, ".outputs['tags']",
         "'image' has 2 variable dimensions: say which one is meant"),
        ({"inputs": {"image": 0}, "outputs": {"tags": {"0": ["image", 0]}}}, ".outputs['tags']",
         "dimension 0 of 'image' does not vary: its dims are [3, -1, -1]"),
        ({**VALID, "outputs": {"tags": {"1": "ids"}}}, ".outputs['tags']", 'dimension "1" does not vary'),
        ({**VALID, "outputs": {"tags": {}}}, ".outputs['tags']", "does not say what dimension 0 is as long as"),
        ({**VALID, "outputs": {"tags": "ids", "label": "ids"}}, ".outputs['label']",
         "has no variable dimensions, its dims are [4]"),
        ({**VALID, "outputs": {"tags": "ids", "no": "ids"}}, ".outputs['no']",
         "the model has no output of that name; it has tags, label"),
        ({"inputs": {"maybe": 0}, "outputs": {"tags": "maybe"}}, ".outputs['tags']", "'maybe' is optional"),
        ({**VALID, "lengths": {"ids": "ids"}}, ".lengths['ids']", "clients send that input"),
        ({**VALID, "lengths": {"N": "fixed"}}, ".lengths['N']", "'fixed' is not padded"),
        ({**VALID, "lengths": {"N": {"input": "ids", "type": "x"}}}, ".lengths['N']",
         "has no option 'type'; expected input, dim, data_type, dims"),
        ({**VALID, "lengths": {"N": {"input": "ids", "data_type": "BOOL"}}}, ".lengths['N']",
         "expected a data_type out of INT32, INT64, FP32, FP64"),
        ({**VALID, "lengths": {"N": {"input": "ids", "dims": [2]}}}, ".lengths['N']", "expected dims [] or [1]"),
        ({**VALID, "masks": {"M": {"input": "ids", "dims": [1]}}}, ".masks['M']", "has no option 'dims'"),
        ({**VALID, "lengths": {"N": "ids"}, "masks": {"N": "ids"}}, ".masks['N']", "is there twice"),
        ({**VALID, "lengths": {"": "ids"}}, ".lengths['']", "must not be empty"),
    ],
)  # fmt: skip
def test_problems_of_padding(value: object, path: str, message: str) -> None:
    found = problems(padded(value))
    assert [text for at, text in found if at == PATH + path and message in text], found


def test_texts_are_padded_with_texts() -> None:
    value = {"inputs": {"text": ""}}
    assert problems(padded(value, TEXT + LABEL)) == []
    assert "expected a string" in problems(padded({"inputs": {"text": 0}}, TEXT + LABEL))[0][1]


def test_padding_needs_batches_made_of_rows() -> None:
    alone = padded(VALID, IDS + TAGS).replace("max_batch_size: 8 dynamic_batching { }", "")
    assert (PATH, "there are no batches: max_batch_size is 0") in problems(alone)
    ragged = padded(VALID, IDS.replace("dims", "allow_ragged_batch: true dims") + TAGS)
    assert (PATH, "input[0] is ragged: requests are either padded or joined") in problems(ragged)
    sequences = padded(VALID, IDS + TAGS).replace("dynamic_batching", "sequence_batching")
    text = "requests of sequences are not padded: leave out sequence_batching, or this"
    assert (PATH, text) in problems(sequences)
    sizes = padded(VALID, IDS + TAGS) + batch_input(source_input='"ids"')
    assert (PATH, "requests are either padded or joined: leave out batch_input") in problems(sizes)


def test_what_a_model_file_may_still_say_is_no_problem_before_it_was_read() -> None:
    config = config_of(padded(VALID, ""))
    found = [each for each in validate(config, gpu_count=0) if each.path.startswith(PATH)]
    assert found
    assert all(each.incomplete for each in found)
