"""The calls of the model repository extension, for the files of cases about it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import UnreadableAnswer
from kserve_v2_conformance.inference.request import Failure
from kserve_v2_conformance.models.catalogue import BY_NAME
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import failure_of, protocol, says_yes
from kserve_v2_conformance.target import NotCovered, ServedModel, ServedTensor, Target, model_path

# What a server answers that has the calls, but switched off.
_SWITCHED_OFF = ("403", "405", "501", "503", "UNIMPLEMENTED", "UNAVAILABLE", "PERMISSION_DENIED")

_LOADABLE = "loadable"

# Parameters of a load: text for `config`, bytes for files.
Parameters = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Repository:
    """The calls of the extension over one protocol."""

    target: Target
    carrier: str

    @property
    def prefix(self) -> str:
        """Of the clauses."""
        return protocol(self.carrier)

    def index(self, ready: bool | None = None) -> list[dict[str, Any]]:
        """The entries, in the form that REST has. Raises UnreadableAnswer."""
        if self.carrier == "json":
            answer = self.target.rest.post("/v2/repository/index", {} if ready is None else {"ready": ready})
            entries = answer.json()
            if answer.status != 200 or not _are_objects(entries):
                raise UnreadableAnswer(f"index: {answer.status} {entries!r}")
            return list(entries)
        request = pb.RepositoryIndexRequest(ready=bool(ready))
        message = self.target.grpc.succeed(request, pb.RepositoryIndexResponse)
        return [
            {"name": m.name, "version": m.version, "state": m.state, "reason": m.reason}
            for m in message.models
        ]

    def states(self, name: str) -> list[object]:
        """The states that the index gives a model, None where it gives none; nothing if it does not list it."""
        return [entry.get("state") or None for entry in self.index() if entry.get("name") == name]

    def load(self, name: str, parameters: Parameters | None = None) -> Failure | None:
        """Load a model; None if that succeeded."""
        if self.carrier == "json":
            path = f"/v2/repository/models/{quote(name, safe='')}/load"
            sent = {key: _as_text(value) for key, value in (parameters or {}).items()}
            return failure_of(self.target.rest.post(path, {"parameters": sent} if sent else None))
        request = pb.RepositoryModelLoadRequest(model_name=name)
        for key, value in (parameters or {}).items():
            field = "bytes_param" if isinstance(value, bytes) else "string_param"
            setattr(request.parameters[key], field, value)
        return _failure(self.target.grpc.call(request, pb.RepositoryModelLoadResponse))

    def unload(self, name: str) -> Failure | None:
        """Unload a model; None if that succeeded."""
        if self.carrier == "json":
            return failure_of(self.target.rest.post(f"/v2/repository/models/{quote(name, safe='')}/unload"))
        request = pb.RepositoryModelUnloadRequest(model_name=name)
        return _failure(self.target.grpc.call(request, pb.RepositoryModelUnloadResponse))

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
        """The model to load and unload, which no other case needs. Raises NotCovered without one."""
        name = self.target.profile.model_name(_LOADABLE)
        if not self.states(name):
            # Perhaps it is the index that is wrong.
            failure = self.load(name)
            require_switched_on(failure)
            if failure is not None:
                raise NotCovered(
                    f"the repository has no model {name}; a profile may name one for {_LOADABLE}"
                )
        spec = BY_NAME[_LOADABLE]
        inputs, outputs = (
            tuple(ServedTensor(each.name, each.datatype, each.dims) for each in tensors)
            for tensors in (spec.inputs, spec.outputs)
        )
        return ServedModel(name, spec.behaviour, inputs, outputs, ("1",), spec)


def _are_objects(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(each, dict) for each in entries)


def _as_text(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _failure(message: object) -> Failure | None:
    return Failure(message.code, message.details, False) if isinstance(message, GrpcError) else None


def require_switched_on(failure: Failure | None) -> None:
    """Raise NotCovered where a server has the call, but switched off."""
    if failure is not None and failure.status in _SWITCHED_OFF:
        raise NotCovered(f"loading is switched off: {failure.status} {failure.message}")
