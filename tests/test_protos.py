"""The generated messages: wire numbers, and life beside a client with its own `inference` package."""

import subprocess
import sys

import pytest

from kserve_v2._generated import (
    grpc_service_pb2,
    health_pb2,
    model_config_pb2,
    reflection_pb2,
    reflection_v1_pb2,
)

RPCS = [
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
    *("ModelStreamInfer", "ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad"),
    *("RepositoryModelUnload", "SystemSharedMemoryStatus", "SystemSharedMemoryRegister"),
    *("SystemSharedMemoryUnregister", "CudaSharedMemoryStatus", "CudaSharedMemoryRegister"),
    *("CudaSharedMemoryUnregister", "TraceSetting", "LogSettings"),
]

FIELD_NUMBERS = {
    "ModelMetadataResponse": {
        **{"name": 1, "versions": 2, "platform": 3, "inputs": 4, "outputs": 5},
        **{"properties": 6},
    },
    "InferParameter": {
        **{"bool_param": 1, "int64_param": 2, "string_param": 3, "double_param": 4},
        **{"uint64_param": 5},
    },
    "InferTensorContents": {
        **{"bool_contents": 1, "int_contents": 2, "int64_contents": 3, "uint_contents": 4},
        **{"uint64_contents": 5, "fp32_contents": 6, "fp64_contents": 7, "bytes_contents": 8},
    },
    "ModelInferRequest": {
        **{"model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "inputs": 5, "outputs": 6},
        **{"raw_input_contents": 7},
    },
    "ModelInferResponse": {
        **{"model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "outputs": 5},
        **{"raw_output_contents": 6},
    },
    "ModelStreamInferResponse": {"error_message": 1, "infer_response": 2},
    "ModelStatistics": {
        **{"name": 1, "version": 2, "last_inference": 3, "inference_count": 4, "execution_count": 5},
        **{"inference_stats": 6, "batch_stats": 7, "memory_usage": 8, "response_stats": 9},
    },
    "RepositoryModelLoadRequest": {"repository_name": 1, "model_name": 2, "parameters": 3},
    "ModelRepositoryParameter": {"bool_param": 1, "int64_param": 2, "string_param": 3, "bytes_param": 4},
    "SystemSharedMemoryRegisterRequest": {"name": 1, "key": 2, "offset": 3, "byte_size": 4},
    "CudaSharedMemoryRegisterRequest": {"name": 1, "raw_handle": 2, "device_id": 3, "byte_size": 4},
}

# The order of declaration is the order of JSON output.
MODEL_CONFIG_FIELDS = [
    *(("name", 1), ("platform", 2), ("backend", 17), ("runtime", 25), ("version_policy", 3)),
    *(("max_batch_size", 4), ("input", 5), ("output", 6), ("batch_input", 20), ("batch_output", 21)),
    *(("optimization", 12), ("dynamic_batching", 11), ("sequence_batching", 13), ("ensemble_scheduling", 15)),
    *(("instance_group", 7), ("default_model_filename", 8), ("cc_model_filenames", 9), ("metric_tags", 10)),
    *(("parameters", 14), ("model_warmup", 16), ("model_operations", 18), ("model_transaction_policy", 19)),
    *(("model_repository_agents", 23), ("response_cache", 24), ("model_metrics", 26)),
]


def test_the_inference_service_has_all_twenty_rpcs() -> None:
    service = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert [method.name for method in service.methods] == RPCS


@pytest.mark.parametrize(("message", "numbers"), FIELD_NUMBERS.items(), ids=FIELD_NUMBERS)
def test_field_numbers(message: str, numbers: dict[str, int]) -> None:
    descriptor = grpc_service_pb2.DESCRIPTOR.message_types_by_name[message]
    assert {field.name: field.number for field in descriptor.fields} == numbers


def test_model_config_is_declared_in_printing_order() -> None:
    fields = model_config_pb2.ModelConfig.DESCRIPTOR.fields
    assert [(field.name, field.number) for field in fields] == MODEL_CONFIG_FIELDS


@pytest.mark.parametrize(
    ("module", "service"),
    [
        (health_pb2, "grpc.health.v1.Health"),
        (reflection_pb2, "grpc.reflection.v1alpha.ServerReflection"),
        (reflection_v1_pb2, "grpc.reflection.v1.ServerReflection"),
    ],
)
def test_services_of_grpc_itself(module: object, service: str) -> None:
    descriptor = vars(module)["DESCRIPTOR"]
    assert [entry.full_name for entry in descriptor.services_by_name.values()] == [service]


def test_known_bytes_of_a_request() -> None:
    request = grpc_service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b"\x01\x02"])
    request.parameters["p"].int64_param = 3
    expected = b"\x0a\x01m" + b"\x22\x07\x0a\x01p\x12\x02\x10\x03" + b"\x3a\x02\x01\x02"
    assert request.SerializeToString(deterministic=True) == expected
    assert grpc_service_pb2.ModelInferRequest.FromString(expected) == request


OURS = "from kserve_v2._generated import grpc_service_pb2 as ours, health_pb2, reflection_v1_pb2"
THEIRS = "from tritonclient.grpc import service_pb2 as theirs"
EXCHANGE = """
request = theirs.ModelInferRequest(model_name="m")
request.parameters["p"].double_param = 0.5
assert ours.ModelInferRequest.FromString(request.SerializeToString()).parameters["p"].double_param == 0.5
"""


@pytest.mark.slow
@pytest.mark.parametrize("imports", [(OURS, THEIRS), (THEIRS, OURS)], ids=["server_first", "client_first"])
def test_the_server_shares_a_process_with_tritonclient(imports: tuple[str, str]) -> None:
    pytest.importorskip("tritonclient.grpc")
    program = "\n".join((*imports, EXCHANGE))
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
