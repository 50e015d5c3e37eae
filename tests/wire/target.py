"""One server as the cases see it: REST without any help of a client library, gRPC on a bare channel."""

import http.client
import socket
from dataclasses import dataclass
from io import BufferedReader
from types import TracebackType
from typing import Any, Self

import grpc

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer

SERVICE = "inference.GRPCInferenceService"
_TIMEOUT = 30


@dataclass(frozen=True)
class RestAnswer:
    """An HTTP answer. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """The JSON, and the binary tensors behind it."""
        length = int(self.headers.get("inference-header-content-length", len(self.body)))
        return self.body[:length], self.body[length:]


@dataclass(frozen=True)
class GrpcAnswer:
    """The messages of a call, and its status."""

    messages: list[Any]
    code: str
    details: str


class Target:
    """A server and the connections to it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self._host, port = server.rest.removeprefix("http://").split(":")
        self._port = int(port)
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        self._channel = grpc.insecure_channel(server.grpc, [("grpc.max_receive_message_length", -1)])

    def rest(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> RestAnswer:
        """Send one request with no headers but these, Host and Content-Length."""
        connection = self._connection
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return RestAnswer(response.status, found, response.read())

    def connect(self) -> socket.socket:
        """A new connection to the REST port."""
        return socket.create_connection((self._host, self._port), timeout=_TIMEOUT)

    def call(self, method: str, request: Any, metadata: dict[str, str]) -> GrpcAnswer:
        """Call a unary RPC."""
        answer = getattr(pb, pb_method(method).output_type.name)
        stub = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            return GrpcAnswer([stub(request, timeout=_TIMEOUT, metadata=tuple(metadata.items()))], "OK", "")
        except grpc.RpcError as error:
            return GrpcAnswer([], error.code().name, error.details())

    def stream(self, requests: list[Any], metadata: dict[str, str]) -> GrpcAnswer:
        """Call ModelStreamInfer with all requests at once."""
        stub = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        messages: list[Any] = []
        try:
            messages.extend(stub(iter(requests), timeout=_TIMEOUT, metadata=tuple(metadata.items())))
        except grpc.RpcError as error:
            return GrpcAnswer(messages, error.code().name, error.details())
        return GrpcAnswer(messages, "OK", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        self._channel.close()


def pb_method(name: str) -> Any:
    """The descriptor of an RPC."""
    return pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[name]


def read_answer(reader: BufferedReader, method: str = "GET") -> RestAnswer:
    """Read the answer to a request with `method`, and not a byte more, from a connection of its own."""
    status = int(reader.readline().split()[1])
    headers = {name.lower(): value for name, value in http.client.parse_headers(reader).items()}
    size = 0 if method == "HEAD" else int(headers.get("content-length", 0))
    return RestAnswer(status, headers, reader.read(size))
