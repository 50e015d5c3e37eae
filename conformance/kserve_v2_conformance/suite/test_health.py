"""Is the server live, is it ready, are its models?"""

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.rest import RestAnswer
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import says_yes
from kserve_v2_conformance.target import NotCovered, ServedModel, Target, model_path

UNKNOWN_VERSION = "987654"


def _check_body(check: Checks, clause: str, answer: RestAnswer, members: tuple[str, ...]) -> None:
    """A body, where there is one, has one of the members, and it is true."""
    value = answer.json() if answer.body else None
    said = {name: value[name] for name in members if name in value} if isinstance(value, dict) else {}
    expected = " or ".join(f'{{"{name}": true}}' for name in members)
    kept = bool(said) and all(each is True for each in said.values())
    check.that(clause, "body", kept, expected, answer.body.decode(errors="replace") or "no body")


def _versioned(target: Target) -> tuple[ServedModel, str]:
    model = target.model("identity")
    if not model.versions:
        raise NotCovered(f"the metadata of {model.name} list no versions")
    return model, model.versions[-1]


@pytest.mark.clause("REST-LIVE-001", "REST-LIVE-002")
def test_server_live(target: Target, check: Checks) -> None:
    """GET v2/health/live."""
    answer = target.rest.get("/v2/health/live")
    _check_yes(check, "REST-LIVE-001", answer, "live")
    _check_body(check, "REST-LIVE-002", answer, ("live",))


@pytest.mark.clause("REST-READY-001", "REST-READY-002")
def test_server_ready(target: Target, check: Checks) -> None:
    """GET v2/health/ready."""
    answer = target.rest.get("/v2/health/ready")
    _check_yes(check, "REST-READY-001", answer, "ready", "live")
    _check_body(check, "REST-READY-002", answer, ("ready", "live"))


@pytest.mark.clause("REST-MREADY-001", "REST-MREADY-002")
def test_model_ready(target: Target, check: Checks) -> None:
    """GET v2/models/M/ready."""
    model = target.model("identity")
    answer = target.rest.get(f"{model.path}/ready")
    _check_yes(check, "REST-MREADY-001", answer, "ready")
    _check_body(check, "REST-MREADY-002", answer, ("ready",))
    if answer.body:
        check.equal("REST-MREADY-002", "name", answer.object().get("name"), model.name)


@pytest.mark.clause("REST-MREADY-003", "REST-MREADY-006")
def test_unknown_model_ready(target: Target, check: Checks) -> None:
    """Readiness of a model that does not exist."""
    _check_not_ready(check, "REST-MREADY-003", target.rest.get(f"{model_path('no_such_model')}/ready"))


@pytest.mark.clause("REST-MREADY-004")
def test_version_ready(target: Target, check: Checks) -> None:
    """Readiness of a version."""
    model, version = _versioned(target)
    answer = target.rest.get(f"{model_path(model.name, version)}/ready")
    _check_yes(check, "REST-MREADY-004", answer, "ready")


@pytest.mark.clause("REST-MREADY-005")
def test_unknown_version_ready(target: Target, check: Checks) -> None:
    """Readiness of a version that does not exist."""
    answer = target.rest.get(f"{model_path(target.model('identity').name, UNKNOWN_VERSION)}/ready")
    _check_not_ready(check, "REST-MREADY-005", answer)


def _check_yes(check: Checks, clause: str, answer: RestAnswer, *members: str) -> None:
    """Status 200, and a body, if any, that does not say no: the two are one answer."""
    got = f"{answer.status} {answer.body.decode(errors='replace')}".rstrip()
    check.that(clause, "answer", says_yes(answer, *members), "status 200, and no body that says no", got)


def _check_not_ready(check: Checks, clause: str, answer: RestAnswer) -> None:
    """Any status but 200, or 200 with `ready` false; a body that says so."""
    got = f"{answer.status} {answer.body.decode(errors='replace')}".rstrip()
    kept = not says_yes(answer, "ready")
    check.that(clause, "answer", kept, "an error status, or ready = false", got)
    if kept and clause == "REST-MREADY-003":
        explained = answer.error is not None or answer.says("ready", False)
        check.that("REST-MREADY-006", "body", explained, "ready = false, or an error object", got)


@pytest.mark.clause("GRPC-LIVE-001")
def test_grpc_server_live(target: Target, check: Checks) -> None:
    """ServerLive."""
    answer = target.grpc.succeed(pb.ServerLiveRequest(), pb.ServerLiveResponse)
    check.equal("GRPC-LIVE-001", "live", answer.live, True)


@pytest.mark.clause("GRPC-READY-001")
def test_grpc_server_ready(target: Target, check: Checks) -> None:
    """ServerReady."""
    answer = target.grpc.succeed(pb.ServerReadyRequest(), pb.ServerReadyResponse)
    check.equal("GRPC-READY-001", "ready", answer.ready, True)


@pytest.mark.clause("GRPC-MREADY-001")
def test_grpc_model_ready(target: Target, check: Checks) -> None:
    """ModelReady."""
    model = target.model("identity")
    answer = target.grpc.succeed(pb.ModelReadyRequest(name=model.name), pb.ModelReadyResponse)
    check.equal("GRPC-MREADY-001", "ready", answer.ready, True)


@pytest.mark.clause("GRPC-MREADY-003")
def test_grpc_unknown_model_ready(target: Target, check: Checks) -> None:
    """ModelReady of a model that does not exist."""
    answer = target.grpc.call(pb.ModelReadyRequest(name="no_such_model"), pb.ModelReadyResponse)
    _check_grpc_not_ready(check, "GRPC-MREADY-003", answer)


@pytest.mark.clause("GRPC-MREADY-004")
def test_grpc_version_ready(target: Target, check: Checks) -> None:
    """ModelReady of a version."""
    model, version = _versioned(target)
    answer = target.grpc.succeed(
        pb.ModelReadyRequest(name=model.name, version=version), pb.ModelReadyResponse
    )
    check.equal("GRPC-MREADY-004", "ready", answer.ready, True)


@pytest.mark.clause("GRPC-MREADY-005")
def test_grpc_unknown_version_ready(target: Target, check: Checks) -> None:
    """ModelReady of a version that does not exist."""
    request = pb.ModelReadyRequest(name=target.model("identity").name, version=UNKNOWN_VERSION)
    _check_grpc_not_ready(check, "GRPC-MREADY-005", target.grpc.call(request, pb.ModelReadyResponse))


def _check_grpc_not_ready(check: Checks, clause: str, answer: pb.ModelReadyResponse | GrpcError) -> None:
    ready = not isinstance(answer, GrpcError) and answer.ready
    got = answer.code if isinstance(answer, GrpcError) else f"ready = {answer.ready}"
    check.that(clause, "answer", not ready, "ready = false, or an error", got)
