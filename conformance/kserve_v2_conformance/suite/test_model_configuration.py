"""The model configuration extension."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import UNKNOWN_MODEL, UNKNOWN_VERSION, both, protocol, refused
from kserve_v2_conformance.target import NotCovered, ServedModel, ServedTensor, Target, model_path


def _configuration(target: Target, carrier: str, model: ServedModel, version: str = "") -> dict[str, Any]:
    """The configuration, in the form that REST has. Raises UnreadableAnswer."""
    if carrier == "json":
        answer = target.rest.get(f"{model_path(model.name, version)}/config")
        if answer.status != 200:
            raise UnreadableAnswer(f"status {answer.status}")
        return answer.object()
    message = target.grpc.succeed(
        pb.ModelConfigRequest(name=model.name, version=version), pb.ModelConfigResponse
    )
    return MessageToDict(
        message.config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _enum_name(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


@both("CONFIG-001")
def test_configuration(carrier: str, target: Target, check: Checks) -> None:
    """The name of the configuration."""
    model = target.model("identity")
    check.equal(
        f"{protocol(carrier)}-CONFIG-001",
        "name",
        _configuration(target, carrier, model).get("name"),
        model.name,
    )


@both("CONFIG-002")
@pytest.mark.parametrize("capability", ["identity", "identity_batched", "add_sub"])
def test_tensors(capability: str, carrier: str, target: Target, check: Checks) -> None:
    """Inputs and outputs as the metadata have them, without the batch dimension."""
    clause, model = f"{protocol(carrier)}-CONFIG-002", target.model(capability)
    document = _configuration(target, carrier, model)
    size = document.get("max_batch_size")
    if not check.has_type(clause, "max_batch_size", size, int):
        return
    for member, tensors in (("input", model.inputs), ("output", model.outputs)):
        got = [_described(each) for each in document.get(member) or []]
        check.equal(clause, member, got, [_expected(each, batched=bool(size)) for each in tensors])


def _described(entry: dict[str, Any]) -> list[object]:
    return [entry.get("name"), entry.get("data_type"), [int(size) for size in entry.get("dims", [])]]


def _expected(tensor: ServedTensor, batched: bool) -> list[object]:
    dims = tensor.shape[1:] if batched else tensor.shape
    return [tensor.name, _enum_name(tensor.datatype), list(dims)]


@pytest.mark.clause("REST-CONFIG-003")
def test_unknown_model(target: Target, check: Checks) -> None:
    """The configuration of a model that does not exist."""
    answer = target.rest.get(f"{model_path(UNKNOWN_MODEL)}/config")
    check.that("REST-CONFIG-003", "status", answer.status >= 400, "an error status", str(answer.status))
    check.that(
        "REST-CONFIG-003",
        "body",
        answer.error is not None,
        "an error object",
        answer.body.decode(errors="replace"),
    )


@pytest.mark.clause("GRPC-CONFIG-003")
def test_grpc_unknown_model(target: Target, check: Checks) -> None:
    """ModelConfig of a model that does not exist."""
    answer = target.grpc.call(pb.ModelConfigRequest(name=UNKNOWN_MODEL), pb.ModelConfigResponse)
    check.that("GRPC-CONFIG-003", "status", isinstance(answer, GrpcError), "an error", "OK")


@both("CONFIG-004")
def test_versions(carrier: str, target: Target, check: Checks) -> None:
    """The configuration for each version that is listed."""
    model = target.find("versions") or target.model("identity")
    if not model.versions:
        raise NotCovered(f"the metadata of {model.name} list no versions")
    for version in model.versions:
        name = _configuration(target, carrier, model, version).get("name")
        check.equal(f"{protocol(carrier)}-CONFIG-004", f"name for version {version}", name, model.name)


@pytest.mark.clause("REST-CONFIG-005")
def test_unknown_version(target: Target, check: Checks) -> None:
    """The configuration of a version that does not exist."""
    path = model_path(target.model("identity").name, UNKNOWN_VERSION)
    refused(check, "REST-CONFIG-005", target.rest.get(f"{path}/config"))


@pytest.mark.clause("GRPC-CONFIG-005")
def test_grpc_unknown_version(target: Target, check: Checks) -> None:
    """ModelConfig of a version that does not exist."""
    request = pb.ModelConfigRequest(name=target.model("identity").name, version=UNKNOWN_VERSION)
    answer = target.grpc.call(request, pb.ModelConfigResponse)
    check.that("GRPC-CONFIG-005", "status", isinstance(answer, GrpcError), "an error", "OK")
