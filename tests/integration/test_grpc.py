"""The gRPC protocol on a bare channel: typed contents, status codes, limits."""

from typing import Any

import grpc
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.integration.conftest import MAX_INPUT_BYTES, ExplicitServer
from tests.integration.grpc_requests import SERVICE, STATUS, Channel, request_of, tensor
from tests.integration.handlers import identity
from tests.integration.support import (
    EDGE_VALUES,
    Array,
    blocked,
    executed_tags,
    new_tag,
    pending,
    same,
    wait_until,
)

IN = tensor("IN", "FP32", [1, 3])
FILLED_IN = tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3])
EMPTY_IN = tensor("IN", "FP32", [1, 3], fp32_contents=[])
A, B = (tensor(name, "INT32", [1, 2]) for name in "AB")
RAW_IN = np.array([1, 2, 3], np.float32).tobytes()

# --- inference ------------------------------------------------------------------------------------------------

CONTENTS_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(["INT8", "INT16", "INT32"], "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(["UINT8", "UINT16", "UINT32"], "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def output_array(answer: pb.ModelInferResponse, dtype: np.dtype[Any]) -> Array:
    """The only output of an answer."""
    [raw] = answer.raw_output_contents
    return np.frombuffer(raw, dtype).reshape(list(answer.outputs[0].shape))


@pytest.mark.parametrize("datatype", [name for name in CONTENTS_FIELDS if name != "BYTES"])
def test_typed_contents(channel: Channel, datatype: str) -> None:
    sent = EDGE_VALUES[datatype]
    contents = {CONTENTS_FIELDS[datatype]: sent.tolist()}
    answer = channel.infer(
        request_of(f"id_{datatype.lower()}", tensor("IN", datatype, [sent.size], **contents))
    )
    assert (answer.outputs[0].name, answer.outputs[0].datatype) == ("OUT", datatype)
    assert not answer.outputs[0].HasField("contents")
    assert same(output_array(answer, sent.dtype), sent)


def test_bytes_contents(channel: Channel) -> None:
    sent = [b"", b"a\0b", b"\xff"]
    answer = channel.infer(request_of("id_bytes", tensor("IN", "BYTES", [3], bytes_contents=sent)))
    assert list(answer.raw_output_contents) == [b"\0\0\0\0\3\0\0\0a\0b\1\0\0\0\xff"]


def test_raw_contents(channel: Channel) -> None:
    answer = channel.infer(request_of("bat", IN, raw=[RAW_IN], id="r-1"))
    assert (answer.model_name, answer.model_version, answer.id) == ("bat", "1", "r-1")
    assert list(answer.raw_output_contents) == [RAW_IN]


@pytest.mark.parametrize(("requested", "returned"), [([], "XY"), (["Y"], "Y"), (["Y", "X"], "XY")])
def test_requested_outputs(channel: Channel, requested: list[str], returned: str) -> None:
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in requested]
    raw = [np.array(values, np.int32).tobytes() for values in ([5, 7], [1, 2])]
    answer = channel.infer(request_of("two", A, B, raw=raw, outputs=outputs))
    values = {
        output.name: np.frombuffer(data, np.int32).tolist()
        for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }
    assert values == {name: {"X": [6, 9], "Y": [4, 5]}[name] for name in returned}
    assert "".join(values) == returned


@pytest.mark.parametrize("raw", [[], [b""]])
def test_a_tensor_without_elements(channel: Channel, raw: list[bytes]) -> None:
    made = tensor("IN", "FP32", [0], **({} if raw else {"fp32_contents": []}))
    if not raw:
        made.contents.SetInParent()
    answer = channel.infer(request_of("id_fp32", made, raw=raw))
    assert list(answer.outputs[0].shape) == [0]
    assert list(answer.raw_output_contents) == [b""]


def test_surplus_raw_contents_are_ignored(channel: Channel) -> None:
    assert list(channel.infer(request_of("bat", IN, raw=[RAW_IN, b"x"])).raw_output_contents) == [RAW_IN]


def test_parameters_of_every_kind(channel: Channel) -> None:
    parameters = {
        "text": pb.InferParameter(string_param="x"),
        "number": pb.InferParameter(int64_param=-1),
        "flag": pb.InferParameter(bool_param=True),
        "real": pb.InferParameter(double_param=1.5),
        "triton_enable_empty_final_response": pb.InferParameter(bool_param=True),
    }
    answer = channel.infer(request_of("bat", IN, raw=[RAW_IN], parameters=parameters))
    assert list(answer.raw_output_contents) == [RAW_IN]


NO_ID = "[request id: <id_unknown>] "

ERRORS: list[tuple[str, pb.ModelInferRequest, grpc.StatusCode, str]] = [
    ("no-name", request_of("", IN), STATUS.NOT_FOUND, "Request for unknown model: '' is not found"),
    ("unknown", request_of("nosuch", IN), STATUS.NOT_FOUND, "Request for unknown model: 'nosuch' is not found"),
    ("version", request_of("bat", IN, model_version="9"), STATUS.NOT_FOUND,
     "Request for unknown model: 'bat' version 9 is not found"),
    ("I08", request_of("two", A, raw=[b"\0" * 8]), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}expected 2 inputs but got 1 inputs for model 'two'. Got input(s) ['A'], but missing required input(s) "
     "['B']. Please provide all required input(s)."),
    ("I08-no-inputs", request_of("bat", id="7"), STATUS.INVALID_ARGUMENT,
     "[request id: 7] expected 1 inputs but got 0 inputs for model 'bat'. Got input(s) [], but missing required input(s) "
     "['IN']. Please provide all required input(s)."),
    ("I11", request_of("bat", tensor("ZZ", "FP32", [1, 3]), raw=[RAW_IN]), STATUS.INVALID_ARGUMENT,
     "unexpected inference input 'ZZ' for model 'bat'"),
    ("no-data", request_of("bat", IN), STATUS.INVALID_ARGUMENT,
     "unable to find data for input tensor 'IN' for model 'bat' in request."),
    ("too-few-raw", request_of("two", A, B, raw=[b"\0" * 8]), STATUS.INVALID_ARGUMENT,
     "unable to find data for input tensor 'B' for model 'two' in request."),
    ("raw-and-contents", request_of("bat", FILLED_IN, raw=[RAW_IN]), STATUS.INVALID_ARGUMENT,
     "contents field must not be specified when using raw_input_contents for 'IN' for model 'bat'"),
    ("raw-and-empty-contents", request_of("bat", EMPTY_IN, raw=[RAW_IN]), STATUS.INVALID_ARGUMENT,
     "contents field must not be specified when using raw_input_contents for 'IN' for model 'bat'"),
    ("I19", request_of("bat", tensor("IN", "INT32", [1, 3]), raw=[RAW_IN]), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}inference input 'IN' data-type is 'INT32', but model 'bat' expects 'FP32'"),
    ("I24", request_of("bat", tensor("IN", "FP32", [5, 3]), raw=[b"\0" * 60]), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}inference request batch-size must be <= 4 for 'bat'"),
    ("I34", request_of("bat", IN, IN, raw=[RAW_IN] * 2), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}input 'IN' already exists in request"),
    ("I35", request_of("bat", IN, raw=[RAW_IN], outputs=[{"name": "Q"}]), STATUS.INVALID_ARGUMENT,
     "unexpected inference output 'Q' for model 'bat'"),
    ("I36", request_of("bat", IN, raw=[RAW_IN], outputs=[{"name": "OUT"}] * 2), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}output 'OUT' already exists in request"),
    ("I38", request_of("bat", IN, raw=[b"\0" * 8]), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}input byte size mismatch for input 'IN' for model 'bat'. Expected 12, got 8"),
    ("I38-contents", request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2])), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}input byte size mismatch for input 'IN' for model 'bat'. Expected 12, got 8"),
    ("I38-empty-contents", request_of("bat", EMPTY_IN), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}input byte size mismatch for input 'IN' for model 'bat'. Expected 12, got 0"),
    ("I43", request_of("id_bytes", tensor("IN", "BYTES", [3], bytes_contents=[b"a", b"b"])), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}expected 3 string elements for inference input 'IN' for model 'id_bytes', got 2"),
    ("I44", request_of("id_bytes", tensor("IN", "BYTES", [1], bytes_contents=[b"a", b"b"])), STATUS.INVALID_ARGUMENT,
     f"{NO_ID}unexpected number of string elements 2 for inference input 'IN' for model 'id_bytes', expecting 1"),
    ("reserved-parameter", request_of("bat", IN, raw=[RAW_IN], parameters={"triton_x": {"bool_param": True}}),
     STATUS.INVALID_ARGUMENT,
     "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting with "
     "'triton_' are allowed: triton_enable_empty_final_response"),
    ("empty-parameter", request_of("bat", IN, raw=[RAW_IN], parameters={"a": {}}), STATUS.INVALID_ARGUMENT,
     "invalid value type for 'a' parameter, expected int64_param, bool_param, or string_param."),
    ("classification-type",
     request_of("bat", IN, raw=[RAW_IN],
                outputs=[{"name": "OUT", "parameters": {"classification": {"string_param": "1"}}}]),
     STATUS.INVALID_ARGUMENT, "invalid value type for 'classification' parameter, expected int64_param"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status", "text"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS]
)
def test_an_error_by_its_text(
    channel: Channel, request_: pb.ModelInferRequest, status: grpc.StatusCode, text: str
) -> None:
    assert channel.infer_fails(request_) == (status, text)


BEGINNINGS: list[tuple[str, pb.ModelInferRequest, str]] = [
    ("wrong-field", request_of("bat", tensor("IN", "FP32", [1, 3], int_contents=[1, 2, 3])),
     "unexpected explicit tensor data for input tensor 'IN' for model 'bat'"),
    ("two-fields", request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3], int_contents=[1])),
     "unexpected explicit tensor data for input tensor 'IN' for model 'bat'"),
    *((f"contents-{name}", request_of(f"id_{name.lower()}", tensor("IN", name, [1], fp32_contents=[1])),
       f"unexpected explicit tensor data for input tensor 'IN' for model 'id_{name.lower()}'")
      for name in ("FP16", "BF16")),
    ("unknown-datatype", request_of("bat", tensor("IN", "STRING", [1, 3]), raw=[RAW_IN]), "invalid datatype for input IN"),
    ("no-datatype", request_of("bat", tensor("IN", "", [1, 3]), raw=[RAW_IN]), "invalid datatype for input IN"),
    ("no-shape", request_of("bat", tensor("IN", "FP32", []), raw=[RAW_IN[:4]]),
     f"{NO_ID}input 'IN' has no shape but model requires batch dimension for 'bat'"),
    ("negative-batch", request_of("bat", tensor("IN", "FP32", [-1, 3]), raw=[RAW_IN]), "invalid shape for input 'IN'"),
    ("negative-dim", request_of("bat", tensor("IN", "FP32", [1, -3]), raw=[RAW_IN]), "invalid shape for input 'IN'"),
    ("overflow", request_of("id_fp32", tensor("IN", "FP32", [2**62, 2**62]), raw=[RAW_IN]), "invalid shape for input 'IN'"),
    ("overflow-without-elements", request_of("id_fp32", tensor("IN", "FP32", [2**62, 2**62, 0]), raw=[b""]), ""),
    ("shape", request_of("bat", tensor("IN", "FP32", [1, 4]), raw=[b"\0" * 16]),
     f"{NO_ID}unexpected shape for input 'IN' for model 'bat'. Expected [-1,3], got [1,4]. NOTE: "),
    ("narrow-int", request_of("id_int8", tensor("IN", "INT8", [1], int_contents=[128])),
     f"{NO_ID}input 'IN' for model 'id_int8' has a value out of range for INT8"),
    ("narrow-uint", request_of("id_uint16", tensor("IN", "UINT16", [1], uint_contents=[65536])),
     f"{NO_ID}input 'IN' for model 'id_uint16' has a value out of range for UINT16"),
    ("I45", request_of("id_bytes", tensor("IN", "BYTES", [1]), raw=[b"\1\0"]),
     f"{NO_ID}incomplete string length indicator for inference input 'IN' for model 'id_bytes', expecting 4 bytes but "
     "only 2 bytes available."),
    ("classification", request_of("bat", IN, raw=[RAW_IN],
                                  outputs=[{"name": "OUT", "parameters": {"classification": {"int64_param": -1}}}]),
     "invalid value for 'classification' parameter"),
    *((f"version-{version}", request_of("bat", IN, raw=[RAW_IN], model_version=version), "") for version in ("abc", "-1")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "text"), [row[1:] for row in BEGINNINGS], ids=[row[0] for row in BEGINNINGS]
)
def test_an_error_by_the_beginning_of_its_text(
    channel: Channel, request_: pb.ModelInferRequest, text: str
) -> None:
    status, details = channel.infer_fails(request_)
    assert status is STATUS.INVALID_ARGUMENT
    assert details.startswith(text)


@pytest.mark.parametrize("version", ["abc", "-1", "99999999999999999999"])
@pytest.mark.parametrize(
    ("method", "request_type", "response_type"),
    [
        ("ModelReady", pb.ModelReadyRequest, pb.ModelReadyResponse),
        ("ModelMetadata", pb.ModelMetadataRequest, pb.ModelMetadataResponse),
        ("ModelConfig", pb.ModelConfigRequest, pb.ModelConfigResponse),
    ],
)
def test_a_version_that_is_none(
    channel: Channel, method: str, request_type: Any, response_type: Any, version: str
) -> None:
    status, details = channel.fails(method, request_type(name="bat", version=version), response_type)
    assert status is STATUS.INVALID_ARGUMENT
    assert details.endswith("version should be an integral value > 0")


@pytest.mark.slow
def test_a_message_over_the_limit(channel: Channel) -> None:
    count = MAX_INPUT_BYTES // 4
    request = request_of("id_fp32", tensor("IN", "FP32", [count]), raw=[bytes(4 * count)])
    status, _ = channel.infer_fails(request)
    assert status is STATUS.RESOURCE_EXHAUSTED
    assert list(channel.infer(request_of("bat", IN, raw=[RAW_IN])).raw_output_contents) == [RAW_IN]


@pytest.mark.slow
def test_a_message_just_below_the_limit(channel: Channel) -> None:
    count = (MAX_INPUT_BYTES - 1024) // 4
    answer = channel.infer(request_of("id_fp32", tensor("IN", "FP32", [count]), raw=[bytes(4 * count)]))
    assert len(answer.raw_output_contents[0]) == 4 * count


@pytest.mark.parametrize("path", [f"/{SERVICE}/NoSuchMethod", "/nosuch.Service/Method"])
def test_there_is_no_such_method(channel: Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.channel.unary_unary(path)(b"", timeout=30)
    assert caught.value.code() is STATUS.UNIMPLEMENTED


def test_a_message_that_cannot_be_parsed(channel: Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"\xff\xff\xff", timeout=30)
    assert caught.value.code() is STATUS.INVALID_ARGUMENT
    assert caught.value.details() == "the message is not a serialized inference.ModelInferRequest"
    assert list(channel.infer(request_of("bat", IN, raw=[RAW_IN])).raw_output_contents) == [RAW_IN]


def gated_message(tag: int, port: int = 0) -> pb.ModelInferRequest:
    return request_of(
        "gated",
        tensor("PORT", "INT32", [1, 1], int_contents=[port]),
        tensor("TAG", "INT64", [1, 1], int64_contents=[tag]),
    )


def test_a_call_whose_deadline_passes_while_it_waits_is_never_executed(
    server: RunningServer, channel: Channel
) -> None:
    tag = new_tag()
    with blocked(server, "gated") as release:
        with pytest.raises(grpc.RpcError) as caught:
            channel.infer(gated_message(tag), timeout=0.2)
        assert caught.value.code() is STATUS.DEADLINE_EXCEEDED
        wait_until(lambda: pending(server, "gated") == 0)
        assert release().status_code == 200
    assert tag not in executed_tags(server, "gated")


# --- the repository -------------------------------------------------------------------------------------------


def test_the_index(channel: Channel) -> None:
    index = channel.method("RepositoryIndex", pb.RepositoryIndexResponse)(
        pb.RepositoryIndexRequest(ready=True)
    )
    found = [(model.name, model.version, model.state, model.reason) for model in index.models]
    assert ("versions", "2", "READY", "") in found
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("method", "request_", "response"),
    [
        ("RepositoryIndex", pb.RepositoryIndexRequest(repository_name="r"), pb.RepositoryIndexResponse),
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(repository_name="r", model_name="m"),
         pb.RepositoryModelLoadResponse),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(repository_name="r", model_name="m"),
         pb.RepositoryModelUnloadResponse),
    ],
)  # fmt: skip
def test_a_repository_cannot_be_named(
    explicit_channel: Channel, method: str, request_: Any, response: Any
) -> None:
    assert explicit_channel.fails(method, request_, response) == (
        STATUS.UNIMPLEMENTED,
        "'repository_name' specification is not supported",
    )


def test_load_and_unload_as_kserve_sends_them(explicit: ExplicitServer, explicit_channel: Channel) -> None:
    """KServe's protocol has the model's name in field 1, which is Triton's `repository_name`."""
    explicit.write("kserve", identity("FP32", [3]))
    load = explicit_channel.method("RepositoryModelLoad", pb.RepositoryModelLoadResponse)
    unload = explicit_channel.method("RepositoryModelUnload", pb.RepositoryModelUnloadResponse)
    load(pb.RepositoryModelLoadRequest(repository_name="kserve"))
    assert explicit.index("kserve") == [{"name": "kserve", "version": "1", "state": "READY"}]
    unload(pb.RepositoryModelUnloadRequest(repository_name="kserve"))
    wait_until(lambda: explicit.index("kserve")[0].get("reason") == "unloaded")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"foo": {"string_param": "x"}}, "unrecognized load parameter 'foo'."),
        (
            {"config": {"int64_param": 1}},
            "invalid value type for load parameter 'config', expected string_param.",
        ),
    ],
)
def test_a_wrong_load_parameter(explicit_channel: Channel, parameters: dict[str, Any], text: str) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="nosuch", parameters=parameters)
    assert explicit_channel.fails("RepositoryModelLoad", request, pb.RepositoryModelLoadResponse) == (
        STATUS.INVALID_ARGUMENT,
        text,
    )
