"""All RPCs of a server, and those of `inference.GRPCInferenceService` as a table."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import IndexEntry, TensorMetadata
from kserve_v2.repository.lifecycle.load_request import LoadRequest
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.models.shown import shown_statistics
from kserve_v2.repository.uploads.names import PREFIX, shown
from kserve_v2.rpc.calls import Direct, Rpc, Streaming
from kserve_v2.rpc.health import SERVICE_NAME as HEALTH
from kserve_v2.rpc.health import health_rpcs
from kserve_v2.rpc.infer import ModelInfer
from kserve_v2.rpc.reflection import reflection_rpcs
from kserve_v2.rpc.settings import settings_rpcs
from kserve_v2.rpc.shared_memory import shared_memory_rpcs
from kserve_v2.rpc.stream import ModelStreamInfer
from kserve_v2.rpc.typed import SERVICE_NAME, inference_rpc
from kserve_v2.scheduling.slices import mapped

Fields = Mapping[str, Any]
"""Of an answer: see `typed.inference_rpc`."""

MODEL_INFER = f"/{SERVICE_NAME}/ModelInfer"
"""The path of the RPC that nearly all calls are of."""


def all_rpcs(service: InferenceService) -> tuple[Rpc, ...]:
    """Inference, health and reflection."""
    own = InferenceServicer(service).rpcs()
    return *own, *health_rpcs(service), *reflection_rpcs([SERVICE_NAME, HEALTH])


class InferenceServicer:
    """Answers RPCs from an InferenceService."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def rpcs(self) -> tuple[Rpc, ...]:
        """All of the service."""
        infer = ModelInfer(self._service)
        return (
            Direct(MODEL_INFER, infer.start, infer.recall),
            Streaming(f"/{SERVICE_NAME}/ModelStreamInfer", ModelStreamInfer(self._service).answer),
            inference_rpc("ServerLive", self.server_live),
            inference_rpc("ServerReady", self.server_ready),
            inference_rpc("ModelReady", self.model_ready),
            inference_rpc("ServerMetadata", self.server_metadata),
            inference_rpc("ModelMetadata", self.model_metadata),
            inference_rpc("ModelConfig", self.model_config),
            inference_rpc("ModelStatistics", self.model_statistics),
            inference_rpc("RepositoryIndex", self.repository_index),
            inference_rpc("RepositoryModelLoad", self.repository_model_load),
            inference_rpc("RepositoryModelUnload", self.repository_model_unload),
            *settings_rpcs(self._service),
            *shared_memory_rpcs(self._service),
        )

    async def server_live(self, request: pb.ServerLiveRequest) -> Fields:
        """The process answers."""
        return {"live": True}

    async def server_ready(self, request: pb.ServerReadyRequest) -> Fields:
        """The server may get traffic."""
        return {"ready": self._service.ready()}

    async def model_ready(self, request: pb.ModelReadyRequest) -> Fields:
        """The model answers."""
        return {"ready": await self._service.model_says_ready(request.name, request.version)}

    async def server_metadata(self, request: pb.ServerMetadataRequest) -> Fields:
        """Name, version and extensions of the server."""
        return asdict(self._service.server_metadata())

    async def model_metadata(self, request: pb.ModelMetadataRequest) -> Fields:
        """Inputs and outputs of a model."""
        service = self._service
        metadata = await service.loaded(lambda: service.model_metadata(request.name, request.version))
        return {
            "name": metadata.name,
            "versions": metadata.versions,
            "platform": metadata.platform,
            "inputs": [_tensor_view(tensor) for tensor in metadata.inputs],
            "outputs": [_tensor_view(tensor) for tensor in metadata.outputs],
            "properties": {f"label:{label}": version for label, version in metadata.labels.items()},
        }

    async def model_config(self, request: pb.ModelConfigRequest) -> Fields:
        """The complete configuration of a model."""
        service = self._service
        return {"config": await service.loaded(lambda: service.model_config(request.name, request.version))}

    async def model_statistics(self, request: pb.ModelStatisticsRequest) -> Fields:
        """Counters and durations of one model, or of all."""
        models = await self._service.counted(request.name, request.version)
        slices = mapped(_statistics_view, models)
        return {"model_stats": await self._service.slicer.finish(slices)}

    async def repository_index(self, request: pb.RepositoryIndexRequest) -> Fields:
        """The models of the repository, whether loaded or not, and why not."""
        if request.repository_name:
            raise UnsupportedError("'repository_name' specification is not supported")
        entries = await self._service.index(ready_only=request.ready)
        slices = mapped(_index_view, entries)
        return {"models": await self._service.slicer.finish(slices)}

    async def repository_model_load(self, request: pb.RepositoryModelLoadRequest) -> Fields:
        """Load a model, or load it again if its files have changed. Answers when it is ready."""
        await self._service.load(_model_name(request), self._load_request(request))
        return {}

    def _load_request(self, request: pb.RepositoryModelLoadRequest) -> LoadRequest:
        config: str | None = None
        files: dict[str, bytes] = {}
        for name, parameter in request.parameters.items():
            is_file = name.startswith(PREFIX)
            if is_file:
                self._service.check_may_load([name])
            elif name != "config":
                raise InvalidArgumentError(f"unrecognized load parameter '{shown(name)}'.")
            expected = "bytes_param" if is_file else "string_param"
            if parameter.WhichOneof("parameter_choice") != expected:
                raise InvalidArgumentError(
                    f"invalid value type for load parameter '{shown(name)}', expected {expected}."
                )
            if is_file:
                files[name] = parameter.bytes_param
            else:
                config = parameter.string_param
        return LoadRequest(config, files)

    async def repository_model_unload(self, request: pb.RepositoryModelUnloadRequest) -> Fields:
        """Unload a model. Answers at once; requests that are under way are finished."""
        dependents = request.parameters.get("unload_dependents")
        if dependents is not None and dependents.WhichOneof("parameter_choice") != "bool_param":
            raise InvalidArgumentError(
                "invalid value type for 'unload_dependents' parameter, expected bool_param."
            )
        await self._service.unload(
            _model_name(request), dependents=dependents is not None and dependents.bool_param
        )
        return {}


def _model_name(request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest) -> str:
    """The model that is meant. KServe's clients send its name in field 1, which is Triton's
    `repository_name`.
    """
    if request.repository_name and request.model_name:
        raise UnsupportedError("'repository_name' specification is not supported")
    return request.model_name or request.repository_name


# --- answers as protobuf messages --------------------------------------------------------------------------------


def _tensor_view(tensor: TensorMetadata) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )


def _index_view(entry: IndexEntry) -> pb.RepositoryIndexResponse.ModelIndex:
    """One element of RepositoryIndex's answer."""
    return pb.RepositoryIndexResponse.ModelIndex(
        name=entry.name, version=entry.version, state=entry.state, reason=entry.reason
    )


def _statistics_view(model: LoadedModel) -> pb.ModelStatistics:
    """One element of ModelStatistics' answer."""
    shown = shown_statistics(model)
    responses = shown.pop("response_stats").items()
    made = pb.InferResponseStatistics
    return pb.ModelStatistics(**shown, response_stats={index: made(**each) for index, each in responses})
