"""The client for gRPC. It needs no generated service code: calls are made by name."""

import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.exchange import Exchange, show_message
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.repeat import grpcurl

SERVICE = "inference.GRPCInferenceService"
TIMEOUT_SECONDS = 60.0
PROBE_SECONDS = 20.0
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
_TRANSPORT = re.compile(
    r"failed to connect|socket closed|stream removed|connection (reset|refused|aborted)|broken pipe|goaway|end of tcp",
    re.IGNORECASE,
)
"""What the client itself says where a connection ended before the answer."""

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


def target_of(text: str) -> str:
    """The address as gRPC wants it: people put a scheme in front.

    >>> target_of("http://localhost:8001/"), target_of("grpc://localhost:8001"), target_of("localhost:8001")
    ('localhost:8001', 'localhost:8001', 'localhost:8001')
    """
    return re.sub(r"^(http|grpc)://", "", text.strip()).rstrip("/")


class GrpcClient:
    """Calls of one server. `checks` receives every exchange of the running case; it may be replaced at any time."""

    def __init__(self, address: str) -> None:
        self.address = target_of(address)
        self.checks = Checks()
        self._channel = grpc.insecure_channel(self.address, options=_OPTIONS)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def call(self, request: Message, answer: type[M]) -> M | GrpcError:
        """Make the unary call that takes `request`, and keep the exchange."""
        name = type(request).__name__.removesuffix("Request")
        repeat = partial(grpcurl, self.address, f"{SERVICE}/{name}", (request,))
        exchange = Exchange("gRPC", f"{name}\n\n{show_message(request)}", repeat)
        self.checks.exchanges.append(exchange)
        try:
            result = self.request(request, answer)
        except UnreadableAnswer as error:
            exchange.answer = f"({error})"
            raise
        exchange.answer = (
            f"{result.code}\n\n{result.details}"
            if isinstance(result, GrpcError)
            else f"OK\n\n{show_message(result)}"
        )
        return result

    def request(self, request: Message, answer: type[M]) -> M | GrpcError:
        """Make the call without keeping it, so from any thread. Raises UnreadableAnswer if no answer comes."""
        name = type(request).__name__.removesuffix("Request")
        method = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return method(request, timeout=TIMEOUT_SECONDS)  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            status = _status(error)
        if self._is_lost(status):
            raise UnreadableAnswer(f"no answer to {name}: {status.code}: {status.details}")
        return status

    def reach(self) -> str:
        """Why the server cannot be reached, or "" if it can: whatever it answers, it answers."""
        status = self._probe()
        return f"{status.code}: {status.details}" if status and status.code in _NO_ANSWER else ""

    def _is_lost(self, status: GrpcError) -> bool:
        """Whether a status comes from this side of the wire: no server has answered.

        A server may say UNAVAILABLE itself, of a model that is not loaded. It can be asked something else, then.
        """
        if status.code != "UNAVAILABLE":
            return False
        return bool(_TRANSPORT.search(status.details)) or bool(self.reach())

    def _probe(self) -> GrpcError | None:
        method = self._channel.unary_unary(
            f"/{SERVICE}/ServerLive",
            request_serializer=pb.ServerLiveRequest.SerializeToString,
            response_deserializer=pb.ServerLiveResponse.FromString,
        )
        try:
            method(pb.ServerLiveRequest(), timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return _status(error)
        return None

    def succeed(self, request: Message, answer: type[M]) -> M:
        """Make a call that has to succeed. Raises UnreadableAnswer if it fails."""
        result = self.call(request, answer)
        if isinstance(result, GrpcError):
            raise UnreadableAnswer(f"{type(request).__name__}: {result.code}: {result.details}")
        return result

    def stream(
        self, requests: Iterable[pb.ModelInferRequest]
    ) -> Generator[pb.ModelStreamInferResponse, None, None]:
        """Send requests over one ModelStreamInfer, and yield what comes. Raises UnreadableAnswer if it fails.

        A stream that is closed before its end is cancelled.
        """
        kept = list(requests)
        exchange = Exchange(
            "gRPC",
            "ModelStreamInfer\n\n" + "\n---\n".join(map(show_message, kept)),
            partial(grpcurl, self.address, f"{SERVICE}/ModelStreamInfer", kept),
            "(nothing)",
        )
        self.checks.exchanges.append(exchange)
        method = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        shown: list[str] = []
        call: Any = method(iter(kept), timeout=TIMEOUT_SECONDS)
        try:
            for response in call:
                shown.append(show_message(response))
                exchange.answer = "\n---\n".join(shown)
                yield response
        except grpc.RpcError as error:
            status = _status(error)
            exchange.answer = "\n---\n".join([*shown, f"{status.code}\n\n{status.details}"])
            raise UnreadableAnswer(f"ModelStreamInfer ended with {status.code}: {status.details}") from None
        finally:
            call.cancel()


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
