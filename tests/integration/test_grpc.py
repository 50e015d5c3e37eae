"""gRPC on a bare channel: typed contents, limits, the repository. Messages and errors one by one are in tests/wire."""

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


@pytest.mark.parametrize("version", ["1a", "-1", "99999999999999999999"])
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
        channel.channel.unary_unary(path)(b"", timeout=60)
    assert caught.value.code() is STATUS.UNIMPLEMENTED


def test_a_message_that_cannot_be_parsed(channel: Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"\xff\xff\xff", timeout=60)
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


def test_load_and_unload_as_kserve_sends_them(explicit: ExplicitServer, explicit_channel: Channel) -> None:
    """KServe's protocol has the model's name in field 1, which is Triton's `repository_name`."""
    explicit.write("kserve", identity("FP32", [3]))
    load = explicit_channel.method("RepositoryModelLoad", pb.RepositoryModelLoadResponse)
    unload = explicit_channel.method("RepositoryModelUnload", pb.RepositoryModelUnloadResponse)
    load(pb.RepositoryModelLoadRequest(repository_name="kserve"))
    assert explicit.index("kserve") == [{"name": "kserve", "version": "1", "state": "READY"}]
    unload(pb.RepositoryModelUnloadRequest(repository_name="kserve"))
    wait_until(lambda: explicit.index("kserve")[0].get("reason") == "unloaded")
