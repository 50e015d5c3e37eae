"""A bare gRPC channel, and the messages that travel on it."""

from collections.abc import Iterable
from typing import Any, Self

import grpc
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer

SERVICE = "inference.GRPCInferenceService"
STATUS = grpc.StatusCode


class Channel:
    """One connection to a server. `own`: no other channel of this process shares it."""

    def __init__(self, server: RunningServer, *, own: bool = False) -> None:
        # The client's own limit of 4 MiB is not what is tested here.
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", int(own))]
        self.channel = grpc.insecure_channel(server.grpc, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.channel.close()

    def method(self, name: str, response: Any, service: str = SERVICE) -> Any:
        """A unary method."""
        return self.channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def infer(self, request: pb.ModelInferRequest, **options: Any) -> pb.ModelInferResponse:
        """One inference."""
        answer: pb.ModelInferResponse = self.method("ModelInfer", pb.ModelInferResponse)(
            request, **{"timeout": 30, **options}
        )
        return answer

    def stream(self, *requests: pb.ModelInferRequest) -> list[pb.ModelStreamInferResponse]:
        """All answers of one stream."""
        call = self.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        return list(call(iter(requests), timeout=120))

    def fails(self, name: str, request: Any, response: Any) -> tuple[grpc.StatusCode, str]:
        """Status and details of a call that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            self.method(name, response)(request, timeout=60)
        return caught.value.code(), caught.value.details()

    def infer_fails(self, request: pb.ModelInferRequest) -> tuple[grpc.StatusCode, str]:
        """Status and details of an inference that fails."""
        return self.fails("ModelInfer", request, pb.ModelInferResponse)


def request_of(model: str, *tensors: Any, raw: Iterable[bytes] = (), **fields: Any) -> pb.ModelInferRequest:
    """An inference request."""
    return pb.ModelInferRequest(model_name=model, inputs=tensors, raw_input_contents=raw, **fields)


def tensor(
    name: str, datatype: str, shape: list[int], **contents: Any
) -> pb.ModelInferRequest.InferInputTensor:
    """An input, with typed contents if there are any."""
    made = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    return made
