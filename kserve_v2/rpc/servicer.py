"""The RPCs of `inference.GRPCInferenceService`, as a table from name to handler."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError, ServingError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs import Access, access_log_enabled, log_access
from kserve_v2.rpc.codec import decode_request, encode_response
from kserve_v2.rpc.settings import SettingsServicer
from kserve_v2.rpc.shared_memory import SharedMemoryServicer
from kserve_v2.rpc.status import Context, streaming, unary
from kserve_v2.rpc.stream import InferStream
from kserve_v2.rpc.traces import trace_rpc
from kserve_v2.rpc.views import index_view, model_metadata_view, server_metadata_view, statistics_view
from kserve_v2.tracing.trace import Trace

SERVICE_NAME = "inference.GRPCInferenceService"


class InferenceServicer:
    """Answers RPCs from an InferenceService."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """The service as grpc takes it. RPCs that are not in the table are UNIMPLEMENTED."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "ServerLive": unary(self.server_live, pb.ServerLiveRequest),
                "ServerReady": unary(self.server_ready, pb.ServerReadyRequest),
                "ModelReady": unary(self.model_ready, pb.ModelReadyRequest),
                "ServerMetadata": unary(self.server_metadata, pb.ServerMetadataRequest),
                "ModelMetadata": unary(self.model_metadata, pb.ModelMetadataRequest),
                "ModelInfer": unary(self.model_infer, pb.ModelInferRequest),
                "ModelStreamInfer": streaming(self.model_stream_infer, pb.ModelInferRequest),
                "ModelConfig": unary(self.model_config, pb.ModelConfigRequest),
                "ModelStatistics": unary(self.model_statistics, pb.ModelStatisticsRequest),
                "RepositoryIndex": unary(self.repository_index, pb.RepositoryIndexRequest),
                "RepositoryModelLoad": unary(self.repository_model_load, pb.RepositoryModelLoadRequest),
                "RepositoryModelUnload": unary(self.repository_model_unload, pb.RepositoryModelUnloadRequest),
                **SettingsServicer(self._service).handlers(),
                **SharedMemoryServicer(self._service).handlers(),
            },
        )

    async def server_live(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """The process answers."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """The server may get traffic."""
        return pb.ServerReadyResponse(ready=self._service.ready())

    async def model_ready(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """The model answers."""
        return pb.ModelReadyResponse(ready=self._service.model_ready(request.name, request.version))

    async def server_metadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Name, version and extensions of the server."""
        return server_metadata_view(self._service.server_metadata())

    async def model_metadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Inputs and outputs of a model."""
        return model_metadata_view(self._service.model_metadata(request.name, request.version))

    async def model_infer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Answer one inference request."""
        trace = trace_rpc(self._service.tracer, request, context) if self._service.tracer.on else None
        if not access_log_enabled():
            return await self._infer(request, None, trace)
        access = Access("grpc", request.model_name, request.model_version, request.id)
        try:
            return await self._infer(request, access, trace)
        except ServingError as error:
            access.status = error.code.value.grpc
            raise
        finally:
            log_access(access)

    async def _infer(
        self, message: pb.ModelInferRequest, access: Access | None, trace: Trace | None
    ) -> pb.ModelInferResponse:
        # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in between.
        model = self._service.acquire(message.model_name, message.model_version)
        if model.decoupled:
            raise UnsupportedError("ModelInfer RPC doesn't support models with decoupled transaction policy")
        request, forms = decode_request(message, self._service.shared_memory)
        if trace is not None:
            model.begin_trace(request, trace)
        response = await model.infer(request)
        if access is not None:
            access.executed(response)
        answer = encode_response(response, forms, model.labels, batched=model.batched)
        if trace is not None:
            trace.stamp("GRPC_SEND_START")
        return answer

    async def model_stream_infer(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer a stream of inference requests."""
        async with aclosing(InferStream(self._service, context).responses(requests)) as responses:
            async for response in responses:
                yield response

    async def model_config(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """The complete configuration of a model."""
        return pb.ModelConfigResponse(config=self._service.model_config(request.name, request.version))

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        """Counters and durations of one model, or of all."""
        models = self._service.statistics(request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=[statistics_view(model) for model in models])

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        """The models of the repository, whether loaded or not, and why not."""
        if request.repository_name:
            raise UnsupportedError("'repository_name' specification is not supported")
        entries = await self._service.index(ready_only=request.ready)
        return pb.RepositoryIndexResponse(models=[index_view(entry) for entry in entries])

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model, or load it again if its files have changed. Answers when it is ready."""
        config: str | None = None
        for name, parameter in request.parameters.items():
            if name.startswith("file:"):
                raise UnsupportedError(f"load parameter '{name}': uploading model files is not supported")
            if name != "config":
                raise InvalidArgumentError(f"unrecognized load parameter '{name}'.")
            if parameter.WhichOneof("parameter_choice") != "string_param":
                raise InvalidArgumentError(
                    f"invalid value type for load parameter '{name}', expected string_param."
                )
            config = parameter.string_param
        await self._service.load(_model_name(request), config)
        return pb.RepositoryModelLoadResponse()

    async def repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Unload a model. Answers at once; requests that are under way are finished."""
        dependents = request.parameters.get("unload_dependents")
        if dependents is not None and dependents.WhichOneof("parameter_choice") != "bool_param":
            raise InvalidArgumentError(
                "invalid value type for 'unload_dependents' parameter, expected bool_param."
            )
        await self._service.unload(_model_name(request))
        return pb.RepositoryModelUnloadResponse()


def _model_name(request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest) -> str:
    """The model that is meant. KServe's clients send its name in field 1, which is Triton's
    `repository_name`.
    """
    if request.repository_name and request.model_name:
        raise UnsupportedError("'repository_name' specification is not supported")
    return request.model_name or request.repository_name
