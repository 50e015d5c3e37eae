"""The questions of `protocol` over gRPC; the answers are those of REST."""

from collections.abc import Mapping
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.client.description import Json, ModelInfo
from kserve_v2.client.exchange import RpcExchange, RpcStream
from kserve_v2.client.grpc_codec import (
    FINAL_RESPONSE,
    WANT_EMPTY_FINAL_RESPONSE,
    decode_answer,
    encode_request,
)
from kserve_v2.client.protocol import FILE_PREFIX
from kserve_v2.client.request import Request
from kserve_v2.client.result import InferResult
from kserve_v2.errors import UnknownError, UnsupportedError
from kserve_v2.protobuf_json import message_to_dict


class GrpcProtocol:
    """See `ServerProtocol`."""

    asks_for_extensions = False

    def live(self) -> RpcExchange[bool]:
        """Whether the server answers."""
        return RpcExchange(
            "ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse, lambda answer: bool(answer.live)
        )

    def ready(self, model: str, version: str) -> RpcExchange[bool]:
        """Whether a model is ready; "" for the server."""
        if not model:
            return RpcExchange("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse, _ready)
        request = pb.ModelReadyRequest(name=model, version=version)
        return RpcExchange("ModelReady", request, pb.ModelReadyResponse, _ready)

    def server_metadata(self) -> RpcExchange[Json]:
        """Name, version and extensions."""
        return RpcExchange(
            "ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse, message_to_dict
        )

    def model_metadata(self, model: str, version: str) -> RpcExchange[Json]:
        """Inputs and outputs."""
        request = pb.ModelMetadataRequest(name=model, version=version)
        return RpcExchange("ModelMetadata", request, pb.ModelMetadataResponse, message_to_dict)

    def config(self, model: str, version: str) -> RpcExchange[Json]:
        """The configuration."""
        request = pb.ModelConfigRequest(name=model, version=version)
        return RpcExchange(
            "ModelConfig", request, pb.ModelConfigResponse, lambda answer: message_to_dict(answer.config)
        )

    def statistics(self, model: str, version: str) -> RpcExchange[list[Json]]:
        """Counters and durations."""
        request = pb.ModelStatisticsRequest(name=model, version=version)
        return RpcExchange("ModelStatistics", request, pb.ModelStatisticsResponse, _statistics)

    def index(self, *, ready: bool) -> RpcExchange[list[Json]]:
        """The models of the repository."""
        request = pb.RepositoryIndexRequest(ready=ready)
        return RpcExchange("RepositoryIndex", request, pb.RepositoryIndexResponse, _index)

    def load(self, model: str, config: str | None, files: Mapping[str, bytes]) -> RpcExchange[None]:
        """Load a model."""
        request = pb.RepositoryModelLoadRequest(model_name=model)
        if config is not None:
            request.parameters["config"].string_param = config
        for path, content in files.items():
            request.parameters[FILE_PREFIX + path].bytes_param = content
        return RpcExchange("RepositoryModelLoad", request, pb.RepositoryModelLoadResponse, _nothing)

    def unload(self, model: str, *, dependents: bool) -> RpcExchange[None]:
        """Unload a model."""
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        if dependents:
            request.parameters["unload_dependents"].bool_param = True
        return RpcExchange("RepositoryModelUnload", request, pb.RepositoryModelUnloadResponse, _nothing)

    def release(self, model: str, change: Json | None) -> RpcExchange[Json]:
        """What gRPC has no words for."""
        raise UnsupportedError("releases are seen and changed over REST: give an http:// URL")

    def infer(self, request: Request, *, binary: bool) -> RpcExchange[InferResult]:
        """One request, one answer."""
        return RpcExchange("ModelInfer", encode_request(request), pb.ModelInferResponse, decode_answer)

    def stream(self, request: Request, info: ModelInfo) -> RpcStream[InferResult]:
        """One request, any number of answers."""
        message = encode_request(request)
        message.parameters[WANT_EMPTY_FINAL_RESPONSE].bool_param = True
        return RpcStream(message, _response)


def _ready(answer: Any) -> bool:
    return bool(answer.ready)


def _nothing(_: Any) -> None:
    return None


def _statistics(answer: Any) -> list[Json]:
    return [message_to_dict(each) for each in answer.model_stats]


def _index(answer: Any) -> list[Json]:
    # REST leaves out what is empty.
    return [{name: value for name, value in message_to_dict(each).items() if value} for each in answer.models]


def _response(answer: Any) -> tuple[InferResult | None, bool]:
    """One of a stream, None for a message that only says that it was the last one; and whether it was."""
    if answer.error_message:
        raise UnknownError(answer.error_message)
    response = answer.infer_response
    final = response.parameters[FINAL_RESPONSE].bool_param if FINAL_RESPONSE in response.parameters else False
    if final and not response.outputs:
        return None, True
    return decode_answer(response), final
