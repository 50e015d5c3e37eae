"""The model repository extension: index, load, unload."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure
from kserve_v2_conformance.models.catalogue import Behaviour
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import (
    UNKNOWN_MODEL,
    both,
    done,
    eventually,
    failure_of,
    protocol,
    request_of,
    says_yes,
)
from kserve_v2_conformance.target import NotCovered, ServedModel, ServedTensor, Target, model_path

# What a server answers that has the calls, but switched off.
_SWITCHED_OFF = ("403", "405", "501", "503", "UNIMPLEMENTED", "UNAVAILABLE", "PERMISSION_DENIED")

_LOADABLE = "loadable"
_BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class _Repository:
    """The calls of the extension over one protocol."""

    target: Target
    carrier: str

    @property
    def prefix(self) -> str:
        """Of the clauses."""
        return protocol(self.carrier)

    def index(self, ready: bool | None = None) -> list[dict[str, Any]]:
        """The entries, in the form that REST has."""
        if self.carrier == "json":
            answer = self.target.rest.post("/v2/repository/index", {} if ready is None else {"ready": ready})
            entries = answer.json()
            if answer.status != 200 or not isinstance(entries, list):
                raise UnreadableAnswer(f"index: {answer.status} {entries!r}")
            return entries
        request = pb.RepositoryIndexRequest(ready=bool(ready))
        message = self.target.grpc.succeed(request, pb.RepositoryIndexResponse)
        return [
            {"name": m.name, "version": m.version, "state": m.state, "reason": m.reason}
            for m in message.models
        ]

    def load(self, name: str) -> Failure | None:
        """Load a model; None if that succeeded."""
        return self._change(
            name, "load", pb.RepositoryModelLoadRequest(model_name=name), pb.RepositoryModelLoadResponse
        )

    def unload(self, name: str) -> Failure | None:
        """Unload a model; None if that succeeded."""
        return self._change(
            name, "unload", pb.RepositoryModelUnloadRequest(model_name=name), pb.RepositoryModelUnloadResponse
        )

    def _change(self, name: str, verb: str, request: Any, answer_type: Any) -> Failure | None:
        if self.carrier == "json":
            answer = self.target.rest.post(f"/v2/repository/models/{quote(name, safe='')}/{verb}")
            return failure_of(answer)
        message = self.target.grpc.call(request, answer_type)
        return Failure(message.code, message.details, False) if isinstance(message, GrpcError) else None

    def ready(self, name: str) -> bool:
        """Whether the model is ready."""
        if self.carrier == "json":
            return says_yes(self.target.rest.get(f"{model_path(name)}/ready"), "ready")
        message = self.target.grpc.call(pb.ModelReadyRequest(name=name), pb.ModelReadyResponse)
        return not isinstance(message, GrpcError) and message.ready

    def server_ready(self) -> bool:
        """Whether the server says that it is ready."""
        if self.carrier == "json":
            return says_yes(self.target.rest.get("/v2/health/ready"), "ready", "live")
        message = self.target.grpc.call(pb.ServerReadyRequest(), pb.ServerReadyResponse)
        return not isinstance(message, GrpcError) and message.ready

    def subject(self) -> ServedModel:
        """A model to load and unload: `loadable`, or else one that no other case needs much."""
        if any(entry.get("name") == _LOADABLE for entry in self.index()):
            inputs, outputs = ((ServedTensor(name, "INT32", (1,)),) for name in ("INPUT0", "OUTPUT0"))
            return ServedModel(_LOADABLE, Behaviour.IDENTITY, inputs, outputs, ("1",), None)
        return self.target.model("identity.INT8")


def _require_switched_on(failure: Failure | None) -> None:
    if failure is not None and failure.status in _SWITCHED_OFF:
        raise NotCovered(f"loading is switched off: {failure.status} {failure.message}")


@both("REPO-001")
def test_index(carrier: str, target: Target, check: Checks) -> None:
    """Every model that is served is listed, ready, with a version."""
    clause = f"{protocol(carrier)}-REPO-001"
    entries = _Repository(target, carrier).index()
    for entry in entries:
        check.has_type(clause, "name", entry.get("name"), str)
    for capability in ("identity", "add_sub"):
        name = target.model(capability).name
        states = [entry.get("state") for entry in entries if entry.get("name") == name]
        check.that(clause, f"state of {name}", "READY" in states, "READY", str(states))


@both("REPO-002")
def test_index_of_ready_models(carrier: str, target: Target, check: Checks) -> None:
    """Only what is ready."""
    clause = f"{protocol(carrier)}-REPO-002"
    entries = _Repository(target, carrier).index(ready=True)
    check.that(clause, "entries", bool(entries), "some", "none")
    for entry in entries:
        check.equal(clause, f"state of {entry.get('name')}", entry.get("state"), "READY")


@both("REPO-003", "REPO-004")
def test_load_and_unload(carrier: str, target: Target, check: Checks) -> None:
    """Load, load again, infer, unload, infer; in the end the model is as it was."""
    repository = _Repository(target, carrier)
    model = repository.subject()
    load, unload = f"{repository.prefix}-REPO-003", f"{repository.prefix}-REPO-004"
    was_ready = repository.ready(model.name)
    for what in ("load", "load again"):
        failure = repository.load(model.name)
        _require_switched_on(failure)
        done(check, load, what, failure)
    check.that(load, "ready", repository.ready(model.name), "true", "false")
    outcome = infer(target, request_of(model, [7]), carrier, check)
    check.that(load, "inference", not isinstance(outcome, Failure), "success", str(outcome))
    failure = repository.unload(model.name)
    done(check, unload, "unload", failure)
    gone = eventually(lambda: not repository.ready(model.name))
    check.that(unload, "ready", gone, "false", "true")
    outcome = infer(target, request_of(model, [7]), carrier, check)
    check.that(unload, "inference", isinstance(outcome, Failure), "an error", str(outcome))
    if was_ready:
        repository.load(model.name)


@both("REPO-005")
def test_load_unknown_model(carrier: str, target: Target, check: Checks) -> None:
    """A model that the repository does not have."""
    repository = _Repository(target, carrier)
    failure = repository.load(UNKNOWN_MODEL)
    _require_switched_on(failure)
    check.that(f"{repository.prefix}-REPO-005", "load", failure is not None, "an error", "success")


@both("REPO-006", "READY-003")
def test_load_broken_model(carrier: str, target: Target, check: Checks) -> None:
    """A model whose initialization fails."""
    repository = _Repository(target, carrier)
    if not any(entry.get("name") == _BROKEN for entry in repository.index()):
        raise NotCovered("the repository has no model broken")
    clause = f"{repository.prefix}-REPO-006"
    failure = repository.load(_BROKEN)
    _require_switched_on(failure)
    check.that(clause, "load", failure is not None, "an error", "success")
    reasons = [entry.get("reason") for entry in repository.index() if entry.get("name") == _BROKEN]
    check.that(clause, "reason in the index", any(reasons), "a reason", str(reasons))
    if failure is not None:
        ready = repository.server_ready()
        check.that(f"{repository.prefix}-READY-003", "the server", not ready, "not ready", "ready")
    # Until it is unloaded the server is asked for a model that it does not have, and so may be not ready.
    repository.unload(_BROKEN)
