"""The services beside inference: health and reflection, in both versions."""

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from kserve_v2._generated import health_pb2, reflection_pb2, reflection_v1_pb2
from tests.integration.conftest import ExplicitServer
from tests.integration.grpc_requests import SERVICE, STATUS, Channel

# --- health ---------------------------------------------------------------------------------------------------

HEALTH = "grpc.health.v1.Health"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", SERVICE, "whatever"])
def test_a_health_check(channel: Channel, service: str) -> None:
    check = channel.method("Check", health_pb2.HealthCheckResponse, HEALTH)
    assert check(health_pb2.HealthCheckRequest(service=service), timeout=60).status == SERVING


def test_watching_the_health(explicit: ExplicitServer, explicit_channel: Channel) -> None:
    explicit.write("fails_to_load", "raise ValueError('not today')")
    watch = explicit_channel.channel.unary_stream(
        f"/{HEALTH}/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(watch).status == SERVING
    assert explicit.load("fails_to_load").status_code == 400
    assert next(watch).status == NOT_SERVING
    assert explicit.unload("fails_to_load").status_code == 200
    assert next(watch).status == SERVING
    watch.cancel()


# --- reflection -----------------------------------------------------------------------------------------------

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
]


@pytest.fixture(params=[("v1", reflection_v1_pb2), ("v1alpha", reflection_pb2)], ids=["v1", "v1alpha"])
def reflect(request: pytest.FixtureRequest, channel: Channel) -> Iterator[Any]:
    """Asks one question of one stream after the other."""
    version, messages = request.param
    questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
    answers = channel.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=messages.ServerReflectionRequest.SerializeToString,
        response_deserializer=messages.ServerReflectionResponse.FromString,
    )(iter(questions.get, None), timeout=60)

    def ask(**question: str) -> Any:
        questions.put(messages.ServerReflectionRequest(**question))
        return next(answers)

    yield ask
    questions.put(None)
    assert list(answers) == []


def test_reflection_lists_the_services(reflect: Any) -> None:
    answer = reflect(list_services="")
    assert [service.name for service in answer.list_services_response.service] == SERVICES


def pool_of(answer: Any) -> DescriptorPool:
    """What a client makes of the files it gets."""
    files = [
        FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    pool = DescriptorPool()
    # A file comes before those that it imports.
    for file in reversed(files):
        pool.Add(file)
    return pool


def test_reflection_serves_the_files_of_every_service(reflect: Any) -> None:
    for name in SERVICES:
        answer = reflect(file_containing_symbol=name)
        assert pool_of(answer).FindServiceByName(name).methods


def test_reflection_serves_files_by_name_and_members(reflect: Any) -> None:
    answer = reflect(file_containing_symbol="inference.ModelInferRequest")
    name = FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0]).name
    again = reflect(file_by_filename=name)
    message = pool_of(again).FindMessageTypeByName("inference.ModelInferRequest")
    assert message.fields_by_name["raw_input_contents"].number == 7


def test_reflection_of_what_is_not_there(reflect: Any) -> None:
    answer = reflect(file_containing_symbol="no.such.Symbol")
    assert answer.error_response.error_code == STATUS.NOT_FOUND.value[0]
    assert answer.original_request.file_containing_symbol == "no.such.Symbol"
    assert reflect(list_services="").list_services_response.service
