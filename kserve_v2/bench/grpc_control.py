"""Asks a server over gRPC, see `control`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.bench.control import NotToldError, unreachable
from kserve_v2.bench.errors import BenchError
from kserve_v2.bench.model_view import ModelView, model_view
from kserve_v2.bench.server_side import Counters
from kserve_v2.bench.target import Target

_SERVICE = "/inference.GRPCInferenceService/"
_TIMEOUT_S = 30

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A channel is a connection of its own, also beside others to the same server.
    ("grpc.use_local_subchannel_pool", 1),
]

_AnswerT = TypeVar("_AnswerT", bound=Message)


class GrpcControl:
    """With a channel for each question."""

    def __init__(self, target: Target, model: str, version: str = "") -> None:
        self._target = target
        self._model, self._version = model, version

    def view(self) -> ModelView:
        """See `control.Control`."""
        server = self._ask("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
        asked = pb.ModelMetadataRequest(name=self._model, version=self._version)
        metadata = self._ask("ModelMetadata", asked, pb.ModelMetadataResponse)
        try:
            wanted = pb.ModelConfigRequest(name=self._model, version=self._version)
            config = self._ask("ModelConfig", wanted, pb.ModelConfigResponse).config
        except NotToldError:
            config = None
        document = {
            "name": metadata.name,
            "inputs": [
                {"name": each.name, "datatype": each.datatype, "shape": [*each.shape]}
                for each in metadata.inputs
            ],
        }
        try:
            return model_view(document, config, server.extensions)
        except (KeyError, ValueError) as error:
            raise BenchError(f"the metadata of '{self._model}' at {self._target.url}: {error}") from None

    def counters(self) -> Counters | None:
        """See `control.Control`."""
        try:
            wanted = pb.ModelStatisticsRequest(name=self._model, version=self._version)
            answer = self._ask("ModelStatistics", wanted, pb.ModelStatisticsResponse)
            # 64-bit integers become texts, which `Counters.of` reads as well.
            return Counters.of(json_format.MessageToDict(answer, preserving_proto_field_name=True))
        except (BenchError, KeyError, ValueError):
            return None

    def _ask(self, method: str, request: Message, answer: type[_AnswerT]) -> _AnswerT:
        with channel_to(self._target) as channel:
            call: Callable[..., bytes] = channel.unary_unary(
                _SERVICE + method, request_serializer=bytes, response_deserializer=bytes
            )
            try:
                content = call(request.SerializeToString(), timeout=_TIMEOUT_S, metadata=self._target.headers)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise unreachable(self._target, ConnectionError(f"{code.name}: {details}")) from None
                raise NotToldError(f"{method}: {code.name}: {details}") from None
        found = answer()
        found.MergeFromString(content)
        return found


def channel_to(target: Target) -> grpc.Channel:
    """A channel without limits on the size of messages."""
    if target.tls:
        roots = Path(target.ca_file).read_bytes() if target.ca_file else None
        return grpc.secure_channel(target.authority, grpc.ssl_channel_credentials(roots), options=OPTIONS)
    return grpc.insecure_channel(target.authority, options=OPTIONS)
