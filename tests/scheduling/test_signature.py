"""What a model accepts. Texts are those observed on a real Triton server."""

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import TYPE_FP32
from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, TensorMetadata
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


def signature(text: str) -> ModelSignature:
    return ModelSignature(text_format.Parse(text, ModelConfig()))


BAT = signature("""
    name: "bat" max_batch_size: 4
    input { name: "IN" data_type: TYPE_FP32 dims: [3] } output { name: "OUT" data_type: TYPE_FP32 dims: [3] }
""")
TWO = signature("""
    name: "two" max_batch_size: 4
    input [{ name: "A" data_type: TYPE_INT32 dims: [2] }, { name: "B" data_type: TYPE_INT32 dims: [2] }]
    output [{ name: "X" data_type: TYPE_INT32 dims: [2] }, { name: "Y" data_type: TYPE_INT32 dims: [2] }]
""")
OPT = signature("""
    name: "opt" max_batch_size: 4
    input [{ name: "A" data_type: TYPE_INT32 dims: [-1] }, { name: "B" data_type: TYPE_INT32 dims: [2]
    optional: true }]
""")
ID = signature('name: "id_fp32" input { name: "IN" data_type: TYPE_FP32 dims: [-1] }')

NO_ID = "[request id: <id_unknown>] "
HINT = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each"
    " input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting"
    " max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)


def fp32(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def int32(*shape: int) -> Array:
    return np.zeros(shape, np.int32)


@pytest.mark.parametrize(
    ("model", "inputs", "rows"),
    [
        (BAT, {"IN": fp32(1, 3)}, 1),
        (BAT, {"IN": fp32(4, 3)}, 4),
        (TWO, {"B": int32(2, 2), "A": int32(2, 2)}, 2),
        (OPT, {"A": int32(3, 5)}, 3),
        (OPT, {"A": int32(3, 5), "B": int32(3, 2)}, 3),
        # A model that does not batch counts each request as one.
        (ID, {"IN": fp32(7)}, 1),
        (ID, {"IN": fp32(0)}, 1),
    ],
)
def test_accepts(model: ModelSignature, inputs: dict[str, Array], rows: int) -> None:
    assert model.check(InferRequest(model.model_name, inputs))[0] == rows


@pytest.mark.parametrize(
    ("model", "inputs", "text"),
    [
        (
            TWO,
            {"A": int32(1, 2)},
            f"{NO_ID}expected 2 inputs but got 1 inputs for model 'two'. Got input(s) ['A'], but missing required"
            " input(s) ['B']. Please provide all required input(s).",
        ),
        (
            OPT,
            {},
            f"{NO_ID}expected number of inputs between 1 and 2 but got 0 inputs for model 'opt'. Got input(s) [], but"
            " missing required input(s) ['A']. Please provide all required input(s).",
        ),
        (
            OPT,
            {"B": int32(1, 2)},
            f"{NO_ID}expected number of inputs between 1 and 2 but got 1 inputs for model 'opt'. Got input(s) ['B'], but"
            " missing required input(s) ['A']. Please provide all required input(s).",
        ),
        (
            BAT,
            {"IN": fp32(1, 3), "ZZ": fp32(1, 3)},
            f"{NO_ID}expected 1 inputs but got 2 inputs for model 'bat'. Got input(s) ['IN','ZZ'], but missing required"
            " input(s) []. Please provide all required input(s). The model has input(s) ['IN']",
        ),
        (
            BAT,
            {"ZZ": fp32(1, 3)},
            "unexpected inference input 'ZZ' for model 'bat'. The model has input(s) ['IN']",
        ),
        (
            BAT,
            {"IN": fp32(1, 4)},
            f"{NO_ID}unexpected shape for input 'IN' for model 'bat'. Expected [-1,3], got [1,4].{HINT}",
        ),
        (
            BAT,
            {"IN": fp32(3)},
            f"{NO_ID}unexpected shape for input 'IN' for model 'bat'. Expected [-1,3], got [3].{HINT}",
        ),
        (
            ID,
            {"IN": fp32(2, 1)},
            f"{NO_ID}unexpected shape for input 'IN' for model 'id_fp32'. Expected [-1], got [2,1]. ",
        ),
        (BAT, {"IN": fp32(5, 3)}, f"{NO_ID}inference request batch-size must be <= 4 for 'bat'"),
        (BAT, {"IN": fp32(0, 3)}, f"{NO_ID}inference request batch-size must be >= 1 for 'bat'"),
        (BAT, {"IN": fp32()}, f"{NO_ID}input 'IN' has no shape but model requires batch dimension for 'bat'"),
        (
            TWO,
            {"A": int32(1, 2), "B": int32(2, 2)},
            f"{NO_ID}input 'B' batch size does not match other inputs for 'two'",
        ),
        (
            BAT,
            {"IN": int32(1, 3)},
            f"{NO_ID}inference input 'IN' data-type is 'INT32', but model 'bat' expects 'FP32'",
        ),
    ],
)
def test_refuses(model: ModelSignature, inputs: dict[str, Array], text: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        model.check(InferRequest(model.model_name, inputs))
    assert error.value.message == text


def test_an_error_carries_the_request_id() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^\[request id: 7\] "):
        BAT.check(InferRequest("bat", {"IN": fp32(9, 3)}, id="7"))


def test_an_unknown_requested_output_is_refused() -> None:
    request = InferRequest("two", {"A": int32(1, 2), "B": int32(1, 2)}, requested_outputs=("X", "Q"))
    with pytest.raises(InvalidArgumentError) as error:
        TWO.check(request)
    assert error.value.message == (
        "unexpected inference output 'Q' for model 'two'. The model has output(s) ['X','Y']"
    )


def test_of_very_many_names_some_are_listed() -> None:
    names = [f"I{number}" for number in range(1000)]
    config = ModelConfig(name="m")
    for each in names:
        config.input.add(name=each, data_type=TYPE_FP32, dims=[1])
    model = ModelSignature(config)
    inputs = {each: fp32(1) for each in [*names, "ZZ"]}
    with pytest.raises(InvalidArgumentError, match=r"has input\(s\) \['I0','I1',.*,'I63',… 936 more\]$"):
        model.check(InferRequest("m", inputs))


@pytest.mark.parametrize(
    ("inputs", "outputs", "wrong"), [(257, 1, "inputs"), (1, 257, "outputs"), (10**6, 0, "inputs")]
)
def test_very_many_tensors_are_refused_before_they_are_decoded(inputs: int, outputs: int, wrong: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=rf"expected at most 2 {wrong} but got {max(inputs, outputs)} {wrong} for"
    ):
        TWO.check_counts(inputs, outputs)
    TWO.check_counts(256, 256)


def test_a_model_may_have_very_many_tensors() -> None:
    config = ModelConfig(name="m")
    for number in range(1000):
        config.input.add(name=f"I{number}", data_type=TYPE_FP32, dims=[1])
    ModelSignature(config).check_counts(1000, 0)


def test_only_requests_that_fit_together_have_equal_keys() -> None:
    def key(**inputs: Array) -> object:
        return OPT.check(InferRequest("opt", inputs))[1]

    assert key(A=int32(1, 5)) == key(A=int32(3, 5))
    assert key(A=int32(1, 5)) != key(A=int32(1, 6))
    assert key(A=int32(1, 5)) != key(A=int32(1, 5), B=int32(1, 2))
    assert key(A=int32(1, 5), B=int32(1, 2)) == key(B=int32(2, 2), A=int32(2, 5))


def test_metadata_has_the_batch_dimension() -> None:
    assert BAT.input_metadata() == (TensorMetadata("IN", "FP32", (-1, 3)),)
    assert BAT.output_metadata() == (TensorMetadata("OUT", "FP32", (-1, 3)),)
    assert ID.input_metadata() == (TensorMetadata("IN", "FP32", (-1,)),)


@pytest.mark.parametrize(
    ("batching", "dims", "reshape", "shape", "seen"),
    [
        (4, "[1]", "[]", (2, 1), (2,)),
        (4, "[4, 2]", "[8]", (3, 4, 2), (3, 8)),
        (4, "[-1, 1]", "[-1]", (3, 5, 1), (3, 5)),
        (0, "[-1, 1, -1]", "[-1, -1]", (3, 1, 4), (3, 4)),
        (0, "[4]", "[2, 2]", (4,), (2, 2)),
    ],
)
def test_reshape_reaches_the_backend_and_is_undone(
    batching: int, dims: str, reshape: str, shape: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    tensor = f"data_type: TYPE_FP32 dims: {dims} reshape {{ shape: {reshape} }}"
    model = signature(
        f'name: "m" max_batch_size: {batching} input {{ name: "x" {tensor} }} output {{ name: "x" {tensor} }}'
    )
    model.check(InferRequest("m", {"x": fp32(*shape)}))
    inside = model.reshape_inputs({"x": fp32(*shape)})
    assert inside["x"].shape == seen
    assert model.reshape_outputs(inside)["x"].shape == shape
