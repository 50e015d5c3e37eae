"""The client for gRPC. It needs no generated service code: calls are made by name."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.exchange import Exchange, show_message
from kserve_v2_conformance.findings import Checks, UnreadableAnswer

SERVICE = "inference.GRPCInferenceService"
TIMEOUT_SECONDS = 60.0
_OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class GrpcError:
    """A status other than OK: its code's name, and its message."""

    code: str
    details: str


_ANSWERS: dict[str, type[Message]] = {
    name: getattr(pb, f"{name}Response")
    for name in (
        *(
            "ServerLive",
            "ServerReady",
            "ModelReady",
            "ServerMetadata",
            "ModelMetadata",
            "ModelInfer",
            "ModelConfig",
        ),
        *("ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
        *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
        *("TraceSetting", "LogSettings"),
    )
}


class GrpcClient:
    """Calls of one server. `checks` receives every exchange of the running case; it may be replaced at any time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.checks = Checks()
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def call(self, request: Message, answer: type[M]) -> M | GrpcError:
        """Make the unary call that takes `request`, and keep the exchange."""
        name = type(request).__name__.removesuffix("Request")
        exchange = Exchange("gRPC", f"{name}\n\n{show_message(request)}")
        self.checks.exchanges.append(exchange)
        result = self.request(request, answer)
        exchange.answer = (
            f"{result.code}\n\n{result.details}"
            if isinstance(result, GrpcError)
            else f"OK\n\n{show_message(result)}"
        )
        return result

    def request(self, request: Message, answer: type[M]) -> M | GrpcError:
        """Make the call without keeping it, so from any thread."""
        name = type(request).__name__.removesuffix("Request")
        method = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return method(request, timeout=TIMEOUT_SECONDS)  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            return _status(error)

    def succeed(self, request: Message, answer: type[M]) -> M:
        """Make a call that has to succeed. Raises UnreadableAnswer if it fails."""
        result = self.call(request, answer)
        if isinstance(result, GrpcError):
            raise UnreadableAnswer(f"{type(request).__name__}: {result.code}: {result.details}")
        return result

    def stream(self, requests: Iterable[pb.ModelInferRequest]) -> Iterator[pb.ModelStreamInferResponse]:
        """Send requests over one ModelStreamInfer, and yield what comes. Raises UnreadableAnswer if it fails."""
        kept = list(requests)
        exchange = Exchange(
            "gRPC", "ModelStreamInfer\n\n" + "\n---\n".join(map(show_message, kept)), "(nothing)"
        )
        self.checks.exchanges.append(exchange)
        method = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        shown: list[str] = []
        try:
            for response in method(iter(kept), timeout=TIMEOUT_SECONDS):
                shown.append(show_message(response))
                exchange.answer = "\n---\n".join(shown)
                yield response
        except grpc.RpcError as error:
            status = _status(error)
            exchange.answer = "\n---\n".join([*shown, f"{status.code}\n\n{status.details}"])
            raise UnreadableAnswer(f"ModelStreamInfer ended with {status.code}: {status.details}") from None


def _status(error: grpc.RpcError) -> GrpcError:
    call: Any = error
    return GrpcError(call.code().name, call.details() or "")


def answer_type(call: str) -> type[Message]:
    """The message that answers a unary call of the protocol."""
    return _ANSWERS[call]


def parameters(values: dict[str, object]) -> dict[str, pb.InferParameter]:
    """Parameters of a request, an input or an output."""
    return {name: _parameter(value) for name, value in values.items()}


def _parameter(value: object) -> pb.InferParameter:
    match value:
        case bool():
            return pb.InferParameter(bool_param=value)
        case int():
            return pb.InferParameter(int64_param=value)
        case float():
            return pb.InferParameter(double_param=value)
        case _:
            return pb.InferParameter(string_param=str(value))


def names_of(extensions: Sequence[str]) -> set[str]:
    """Names of extensions without their options: `model_repository(unload_dependents)` is `model_repository`."""
    return {name.partition("(")[0].strip() for name in extensions}
