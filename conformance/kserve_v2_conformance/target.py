"""The server under test: how it is reached, what it advertises, and which of its models have which capability."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any
from urllib.parse import quote

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.findings import UnreadableAnswer
from kserve_v2_conformance.models.catalogue import BY_NAME, Behaviour, ModelSpec, TensorSpec
from kserve_v2_conformance.profile import Profile, default_name
from kserve_v2_conformance.requirements import GRPC, REST
from kserve_v2_conformance.rest import RestClient
from kserve_v2_conformance.rpc import GrpcClient, GrpcError, names_of

# Which identity stands for "any identity": JSON and typed contents can carry all of these.
_PREFERRED = ("FP32", "FP64", "INT32", "INT64")


class NotCovered(Exception):
    """A case cannot run on this server; the text says why."""


@dataclass(frozen=True, slots=True)
class ServedTensor:
    """An input or output as requests have it: `shape` has the batch dimension, -1 where sizes vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the server. `spec`: what the catalogue says about it, None for one that the profile names."""

    name: str
    behaviour: Behaviour
    inputs: tuple[ServedTensor, ...]
    outputs: tuple[ServedTensor, ...]
    versions: tuple[str, ...]
    spec: ModelSpec | None

    @property
    def usable(self) -> bool:
        """Whether it is known what its inputs and outputs are."""
        return bool(self.inputs and self.outputs)

    @property
    def path(self) -> str:
        """Its path below the server's URL."""
        return model_path(self.name)


def model_path(name: str, version: str = "") -> str:
    """The path of a model or of one of its versions."""
    path = f"/v2/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


class Target:
    """One server. `asked_for`: extensions that are to be run though nobody advertises them."""

    def __init__(
        self,
        rest: RestClient,
        grpc: GrpcClient | None,
        profile: Profile,
        asked_for: frozenset[str] = frozenset(),
    ) -> None:
        self.rest = rest
        self._grpc = grpc
        self.profile = profile
        self.metadata = self._server_metadata()
        advertised = self.metadata.get("extensions")
        self.advertised: list[str] = (
            [each for each in advertised if isinstance(each, str)] if isinstance(advertised, list) else []
        )
        self.extensions = ((names_of(self.advertised) | profile.extensions) - profile.without) | asked_for
        self.ended: dict[str, str] = {}
        """How the server ended, for each protocol over which it cannot be reached any more."""
        self._models: dict[str, ServedModel | None] = {}

    @property
    def grpc(self) -> GrpcClient:
        """The client for gRPC. Raises NotCovered where no address was given."""
        if self._grpc is None:
            raise NotCovered("no gRPC address was given (--grpc)")
        return self._grpc

    @property
    def has_grpc(self) -> bool:
        """Whether a gRPC address was given."""
        return self._grpc is not None

    def close(self) -> None:
        """Close all connections."""
        self.rest.close()
        if self._grpc is not None:
            self._grpc.close()

    def unreachable(self) -> dict[str, str]:
        """The protocols over which the server cannot be reached, and what was tried."""
        lost = {}
        try:
            self.rest.request("GET", "/v2/health/live", b"", {})
        except UnreadableAnswer as error:
            lost[REST] = str(error)
        if self._grpc is not None and (why := self._grpc.reach()):
            lost[GRPC] = why
        return lost

    def require_extension(self, extension: str) -> None:
        """Raise NotCovered unless the server has the extension."""
        if extension and extension not in self.extensions:
            raise NotCovered(f"the server does not advertise {extension}")

    def find(self, capability: str) -> ServedModel | None:
        """The model with a capability, or None if no request can be made for one. `identity`: of any datatype."""
        if capability == "identity":
            order = (*_PREFERRED, *(name for name in DATATYPES if name not in _PREFERRED))
            return next((found for each in order if (found := self.find(f"identity.{each}"))), None)
        found = self.named(capability)
        return found if found and found.usable else None

    def named(self, capability: str) -> ServedModel | None:
        """The model that stands for a capability, even where its metadata do not say how to use it."""
        if capability not in self._models:
            self._models[capability] = self._look_up(capability)
        return self._models[capability]

    def model(self, capability: str) -> ServedModel:
        """The model with a capability. Raises NotCovered if no request can be made for one."""
        found = self.find(capability)
        if found is None:
            raise NotCovered(self._why_none(capability))
        return found

    def _why_none(self, capability: str) -> str:
        kinds = [f"identity.{each}" for each in DATATYPES] if capability == "identity" else [capability]
        unusable = [model for each in kinds if (model := self.named(each))]
        if unusable:
            return f"the metadata of {unusable[0].name} do not say what its inputs and outputs are"
        name = "identity_…" if capability == "identity" else self.profile.model_name(capability)
        return f"the server has no model {name}; a profile may name another one for {capability}"

    def _server_metadata(self) -> dict[str, Any]:
        try:
            return self.rest.get("/v2").object()
        except UnreadableAnswer:
            return {}

    def _look_up(self, capability: str) -> ServedModel | None:
        name = self.profile.model_name(capability)
        documents = [each for each in (self._rest_metadata(name), self._grpc_metadata(name)) if each]
        known = BY_NAME.get(default_name(capability))
        answered = None if documents else self._answers(name, known)
        if not documents and answered is None:
            return None
        spec = None if capability in self.profile.models else known
        inputs, outputs = _described(documents)
        if spec and not (inputs and outputs):
            inputs, outputs = _specified(spec, spec.inputs), _specified(spec, spec.outputs)
        versions = _versions(documents[0] if documents else None)
        return ServedModel(
            name, _behaviour(capability), inputs, _renamed(outputs, answered or ()), versions, spec
        )

    def _answers(self, name: str, spec: ModelSpec | None) -> tuple[str, ...] | None:
        """Whether a model without metadata is there all the same: what its outputs are called where it infers.

        None if it is not there; nothing if it is ready, and no more is known.
        """
        try:
            body = {"inputs": [_zeros(each) for each in _specified(spec, spec.inputs)]} if spec else {}
            answer = self.rest.post(f"{model_path(name)}/infer", body)
            if answer.status == 200:
                listed = answer.object().get("outputs")
                return tuple(str(each["name"]) for each in listed or ())
        except (UnreadableAnswer, KeyError, TypeError):
            pass
        return () if self._is_ready(name) else None

    def _is_ready(self, name: str) -> bool:
        try:
            return self.rest.get(f"{model_path(name)}/ready").status == 200
        except UnreadableAnswer:
            return False

    def _rest_metadata(self, name: str) -> dict[str, Any] | None:
        try:
            answer = self.rest.get(model_path(name))
            return answer.object() if answer.status == 200 else None
        except UnreadableAnswer:
            if REST in self.unreachable():
                raise  # a server that has ended does not lack the model
            return None

    def _grpc_metadata(self, name: str) -> dict[str, Any] | None:
        if self._grpc is None:
            return None
        try:
            answer = self._grpc.call(pb.ModelMetadataRequest(name=name), pb.ModelMetadataResponse)
        except UnreadableAnswer:
            return None
        return None if isinstance(answer, GrpcError) else grpc_metadata(answer)


def grpc_metadata(message: pb.ModelMetadataResponse) -> dict[str, Any]:
    """A model's metadata in the form that REST has."""

    def tensor(each: pb.ModelMetadataResponse.TensorMetadata) -> dict[str, Any]:
        return {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}

    return {
        "name": message.name,
        "versions": list(message.versions),
        "platform": message.platform,
        "inputs": [tensor(each) for each in message.inputs],
        "outputs": [tensor(each) for each in message.outputs],
    }


def _behaviour(capability: str) -> Behaviour:
    return Behaviour.IDENTITY if capability.startswith("identity.") else BY_NAME[capability].behaviour


def _versions(document: dict[str, Any] | None) -> tuple[str, ...]:
    listed = (document or {}).get("versions")
    return tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()


def _described(documents: list[dict[str, Any]]) -> tuple[tuple[ServedTensor, ...], tuple[ServedTensor, ...]]:
    """Inputs and outputs as the first metadata say that can be used, if need be read leniently; else none.

    What is wrong with metadata is found by the clauses about them; the model is tested all the same.
    """
    for lenient in (False, True):
        for document in documents:
            inputs = _tensors(document.get("inputs"), lenient)
            outputs = _tensors(document.get("outputs"), lenient)
            if inputs and outputs:
                return inputs, outputs
    return (), ()


def _tensors(listed: object, lenient: bool) -> tuple[ServedTensor, ...]:
    """The tensors of metadata; none where one of them is not what it must be."""
    try:
        return tuple(_tensor(each, lenient) for each in listed or ())  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError):
        return ()


def _tensor(described: dict[str, Any], lenient: bool) -> ServedTensor:
    name, datatype, shape = str(described["name"]), described["datatype"], described["shape"]
    if lenient:
        datatype = str(datatype).upper().removeprefix("TYPE_").replace("STRING", "BYTES")
    if datatype not in DATATYPES or isinstance(shape, str):
        raise ValueError(f"{name} has the datatype {datatype!r} and the shape {shape!r}")
    return ServedTensor(name, datatype, tuple(int(size) for size in shape))


def _specified(spec: ModelSpec, tensors: tuple[TensorSpec, ...]) -> tuple[ServedTensor, ...]:
    batch = (-1,) if spec.max_batch_size else ()
    return tuple(ServedTensor(each.name, each.datatype, batch + each.dims) for each in tensors)


def _renamed(outputs: tuple[ServedTensor, ...], names: tuple[str, ...]) -> tuple[ServedTensor, ...]:
    """Outputs as a model calls them that nobody describes."""
    if len(names) != len(outputs):
        return outputs
    return tuple(replace(each, name=name) for each, name in zip(outputs, names, strict=True))


def _zeros(tensor: ServedTensor) -> dict[str, object]:
    """An input of the smallest shape, in JSON."""
    shape = [1 if size == -1 else size for size in tensor.shape]
    zero: object = {"BOOL": False, "BYTES": ""}.get(tensor.datatype, 0)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": [zero] * prod(shape)}
