"""What the server says about itself and its models."""

import re
from typing import Any

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference.changes import in_other_case
from kserve_v2_conformance.inference.rest_carrier import read_failure
from kserve_v2_conformance.models.catalogue import ModelSpec, TensorSpec
from kserve_v2_conformance.profile import CAPABILITIES
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.target import NotCovered, ServedModel, Target, grpc_metadata, model_path

UNKNOWN_VERSION = "987654"


@pytest.mark.clause("REST-META-001", "REST-META-002", "REST-META-003", "REST-META-004")
def test_server_metadata(target: Target, check: Checks) -> None:
    """GET v2."""
    answer = target.rest.get("/v2")
    check.equal("REST-META-001", "status", answer.status, 200)
    check.equal("REST-INFER-025", "content type", answer.content_type, "application/json")
    _check_server(check, "REST", answer.object())


@pytest.mark.clause("GRPC-META-001", "GRPC-META-002", "GRPC-META-003", "GRPC-META-004")
def test_grpc_server_metadata(target: Target, check: Checks) -> None:
    """ServerMetadata."""
    answer = target.grpc.succeed(pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    check.that("GRPC-META-001", "status", True, "OK", "OK")
    document = {"name": answer.name, "version": answer.version, "extensions": list(answer.extensions)}
    _check_server(check, "GRPC", document)


def _check_server(check: Checks, protocol: str, document: dict[str, Any]) -> None:
    for clause, member in (("META-002", "name"), ("META-003", "version")):
        value = document.get(member)
        kept = isinstance(value, str) and (bool(value) or protocol == "REST")
        check.that(f"{protocol}-{clause}", member, kept, "a string", repr(value))
    extensions = document.get("extensions")
    strings = isinstance(extensions, list) and all(isinstance(each, str) for each in extensions)
    check.that(f"{protocol}-META-004", "extensions", strings, "an array of strings", repr(extensions))


@pytest.mark.clause("GRPC-META-005")
def test_server_metadata_over_both(target: Target, check: Checks) -> None:
    """One server, one description."""
    answer = target.grpc.succeed(pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    document = target.rest.get("/v2").object()
    for member in ("name", "version"):
        check.equal("GRPC-META-005", member, getattr(answer, member), document.get(member))
    got, expected = sorted(answer.extensions), sorted(document.get("extensions") or [])
    check.equal("GRPC-META-005", "extensions", got, expected)


def _served(target: Target) -> list[ServedModel]:
    """Every model that the server has for a capability."""
    names = [
        *(f"identity.{datatype}" for datatype in DATATYPES),
        *CAPABILITIES,
    ]
    found = [model for name in names if (model := target.named(name))]
    if not found:
        raise NotCovered("the server has none of the models; name two in a profile")
    return found


_MODEL_CLAUSES = (
    "MODEL-001",
    "MODEL-002",
    "MODEL-003",
    "MODEL-004",
    "MODEL-005",
    "MODEL-006",
    "MODEL-007",
    "MODEL-008",
    "MODEL-012",
)


@pytest.mark.clause(*(f"REST-{clause}" for clause in _MODEL_CLAUSES))
def test_model_metadata(target: Target, check: Checks) -> None:
    """GET v2/models/M, for every model that is there."""
    for model in _served(target):
        answer = target.rest.get(model.path)
        check.equal("REST-MODEL-001", f"status for {model.name}", answer.status, 200)
        check.equal("REST-INFER-025", "content type", answer.content_type, "application/json")
        _check_model(check, "REST", model.name, answer.object())


@pytest.mark.clause(*(f"GRPC-{clause}" for clause in _MODEL_CLAUSES))
def test_grpc_model_metadata(target: Target, check: Checks) -> None:
    """ModelMetadata, for every model that is there."""
    for model in _served(target):
        answer = target.grpc.succeed(pb.ModelMetadataRequest(name=model.name), pb.ModelMetadataResponse)
        check.that("GRPC-MODEL-001", f"status for {model.name}", True, "OK", "OK")
        _check_model(check, "GRPC", model.name, grpc_metadata(answer))


def _check_model(check: Checks, protocol: str, name: str, document: dict[str, Any]) -> None:
    check.equal(f"{protocol}-MODEL-002", "name", document.get("name"), name)
    if protocol == "REST":
        check.that(
            "REST-INFER-029",
            f"versions of {name}",
            document.get("versions", "") is not None,
            "no null",
            "null",
        )
    versions = document.get("versions") or []
    strings = isinstance(versions, list) and all(isinstance(each, str) for each in versions)
    check.that(
        f"{protocol}-MODEL-003",
        f"versions of {name}",
        strings,
        "an array of strings, or nothing",
        repr(versions),
    )
    platform = document.get("platform")
    check.has_type(f"{protocol}-MODEL-004", f"platform of {name}", platform, str)
    well_formed = isinstance(platform, str) and re.fullmatch(r"[^_\s]+_[^\s]+", platform) is not None
    check.that(
        f"{protocol}-MODEL-012", f"platform of {name}", well_formed, "<project>_<format>", repr(platform)
    )
    for member in ("inputs", "outputs"):
        tensors = document.get(member)
        if check.has_type(f"{protocol}-MODEL-005", f"{member} of {name}", tensors, list):
            # Every model that cases are sent to has some of each.
            check.that(f"{protocol}-MODEL-005", f"{member} of {name}", bool(tensors), "at least one", "none")
            for tensor in tensors or []:
                _check_tensor(check, protocol, f"{member} of {name}", tensor)


def _check_tensor(check: Checks, protocol: str, what: str, tensor: object) -> None:
    members = tensor if isinstance(tensor, dict) else {}
    present = all(member in members for member in ("name", "datatype", "shape")) and isinstance(
        members["name"], str
    )
    check.that(f"{protocol}-MODEL-006", what, present, "name, datatype and shape", repr(tensor))
    check.that(
        f"{protocol}-MODEL-007",
        f"datatype in {what}",
        members.get("datatype") in DATATYPES,
        "a datatype",
        repr(members.get("datatype")),
    )
    shape = members.get("shape")
    whole = isinstance(shape, list) and all(type(size) is int and size >= -1 for size in shape)
    check.that(f"{protocol}-MODEL-008", f"shape in {what}", whole, "integers, -1 or more", repr(shape))


def _specified(target: Target) -> list[tuple[ServedModel, ModelSpec]]:
    found = [(model, model.spec) for model in _served(target) if model.spec is not None]
    if not found:
        raise NotCovered("the server has none of the catalogue's models")
    return found


@pytest.mark.clause("REST-MODEL-013")
def test_model_metadata_are_true(target: Target, check: Checks) -> None:
    """The metadata of the catalogue's models are what the catalogue says."""
    for model, spec in _specified(target):
        _check_against(check, "REST-MODEL-013", spec, target.rest.get(model.path).object())


@pytest.mark.clause("GRPC-MODEL-013")
def test_grpc_model_metadata_are_true(target: Target, check: Checks) -> None:
    """The metadata of the catalogue's models are what the catalogue says."""
    for model, spec in _specified(target):
        answer = target.grpc.succeed(pb.ModelMetadataRequest(name=model.name), pb.ModelMetadataResponse)
        _check_against(check, "GRPC-MODEL-013", spec, grpc_metadata(answer))


def _check_against(check: Checks, clause: str, spec: ModelSpec, document: dict[str, Any]) -> None:
    batch = [-1] if spec.max_batch_size else []
    for member, tensors in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        listed = document.get(member)
        try:
            got = sorted((each["name"], each["datatype"], each["shape"]) for each in listed or [])
        except (KeyError, TypeError):
            raise UnreadableAnswer(f"{member} of {spec.name} are {listed!r}") from None
        check.equal(
            clause, f"{member} of {spec.name}", [list(each) for each in got], _expected(tensors, batch)
        )


def _expected(tensors: tuple[TensorSpec, ...], batch: list[int]) -> list[list[object]]:
    return [
        list(each)
        for each in sorted((tensor.name, tensor.datatype, [*batch, *tensor.dims]) for tensor in tensors)
    ]


@pytest.mark.clause("GRPC-MODEL-014")
def test_model_metadata_over_both(target: Target, check: Checks) -> None:
    """One model, one description."""
    model = target.model("identity")
    answer = target.grpc.succeed(pb.ModelMetadataRequest(name=model.name), pb.ModelMetadataResponse)
    over_rest, over_grpc = target.rest.get(model.path).object(), grpc_metadata(answer)
    for member in ("name", "platform", "inputs", "outputs"):
        check.equal("GRPC-MODEL-014", member, over_grpc[member], over_rest.get(member))
    check.equal("GRPC-MODEL-014", "versions", over_grpc["versions"], over_rest.get("versions") or [])


def _versioned(target: Target) -> list[ServedModel]:
    candidates = [target.find("versions"), target.find("identity")]
    found = [model for model in candidates if model is not None and model.versions]
    if not found:
        raise NotCovered("no model lists versions")
    return found


@pytest.mark.clause("REST-MODEL-009")
def test_versions(target: Target, check: Checks) -> None:
    """GET v2/models/M/versions/V for each version that is listed."""
    for model in _versioned(target):
        for version in model.versions:
            answer = target.rest.get(model_path(model.name, version))
            if check.equal(
                "REST-MODEL-009", f"status for version {version} of {model.name}", answer.status, 200
            ):
                check.equal("REST-MODEL-009", "name", answer.object().get("name"), model.name)


@pytest.mark.clause("GRPC-MODEL-009")
def test_grpc_versions(target: Target, check: Checks) -> None:
    """ModelMetadata for each version that is listed."""
    for model in _versioned(target):
        for version in model.versions:
            request = pb.ModelMetadataRequest(name=model.name, version=version)
            answer = target.grpc.succeed(request, pb.ModelMetadataResponse)
            check.equal("GRPC-MODEL-009", "name", answer.name, model.name)


@pytest.mark.clause("REST-MODEL-010")
def test_unknown_model(target: Target, check: Checks) -> None:
    """Metadata of a model that does not exist."""
    answer = target.rest.get(model_path("no_such_model"))
    check.that("REST-MODEL-010", "status", answer.status >= 400, "an error status", str(answer.status))
    read_failure(answer, check)


@pytest.mark.clause("REST-MODEL-011")
def test_unknown_version(target: Target, check: Checks) -> None:
    """Metadata of a version that does not exist."""
    answer = target.rest.get(model_path(target.model("identity").name, UNKNOWN_VERSION))
    check.that("REST-MODEL-011", "status", answer.status >= 400, "an error status", str(answer.status))
    read_failure(answer, check)


@pytest.mark.clause("GRPC-MODEL-010")
def test_grpc_unknown_model(target: Target, check: Checks) -> None:
    """ModelMetadata of a model that does not exist."""
    _check_error(
        check,
        "GRPC-MODEL-010",
        target.grpc.call(pb.ModelMetadataRequest(name="no_such_model"), pb.ModelMetadataResponse),
    )


@pytest.mark.clause("GRPC-MODEL-011")
def test_grpc_unknown_version(target: Target, check: Checks) -> None:
    """ModelMetadata of a version that does not exist."""
    request = pb.ModelMetadataRequest(name=target.model("identity").name, version=UNKNOWN_VERSION)
    _check_error(check, "GRPC-MODEL-011", target.grpc.call(request, pb.ModelMetadataResponse))


def _check_error(check: Checks, clause: str, answer: pb.ModelMetadataResponse | GrpcError) -> None:
    failed = isinstance(answer, GrpcError)
    check.that(clause, "status", failed, "an error", answer.code if isinstance(answer, GrpcError) else "OK")


@pytest.mark.clause("REST-MODEL-015")
def test_name_in_other_case(target: Target, check: Checks) -> None:
    """Metadata of a model's name in the other case."""
    answer = target.rest.get(model_path(in_other_case(target.model("identity").name)))
    check.that("REST-MODEL-015", "status", answer.status >= 400, "an error status", str(answer.status))


@pytest.mark.clause("GRPC-MODEL-015")
def test_grpc_name_in_other_case(target: Target, check: Checks) -> None:
    """ModelMetadata of a model's name in the other case."""
    request = pb.ModelMetadataRequest(name=in_other_case(target.model("identity").name))
    _check_error(check, "GRPC-MODEL-015", target.grpc.call(request, pb.ModelMetadataResponse))
