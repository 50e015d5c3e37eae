"""Which status comes from a server, and which from a connection that has none at its other end."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from conftest import serve

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import UnreadableAnswer
from kserve_v2_conformance.rpc import GrpcClient, GrpcError

_READY = pb.ModelReadyRequest(name="add_sub")


class _Unavailable(grpc.GenericRpcHandler):
    """Says of every model that it is not available, as tritonserver does of one that is not loaded."""

    def service(self, details: Any) -> Any:
        if details.method.endswith("/ServerLive"):
            return grpc.unary_unary_rpc_method_handler(
                lambda *_: pb.ServerLiveResponse(live=True).SerializeToString()
            )
        return grpc.unary_unary_rpc_method_handler(_refuse)


def _refuse(_: object, context: Any) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "Request for unknown model: no available versions")


@pytest.fixture
def unavailable() -> Iterator[GrpcClient]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((_Unavailable(),))
    client = GrpcClient(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    yield client
    client.close()
    server.stop(None).wait()


def test_server_that_says_unavailable(unavailable: GrpcClient) -> None:
    """It answers: that is an error as required, where one is."""
    answer = unavailable.call(_READY, pb.ModelReadyResponse)
    assert answer == GrpcError("UNAVAILABLE", "Request for unknown model: no available versions")


def test_server_that_is_gone() -> None:
    """It does not answer, which is no error as required."""
    with serve() as server:
        client = GrpcClient(server.grpc.address)
        assert client.reach() == ""
        server.grpc.stop()
        with pytest.raises(UnreadableAnswer, match="no answer to ModelReady: UNAVAILABLE"):
            client.call(_READY, pb.ModelReadyResponse)
        assert "no answer to ModelReady" in client.checks.exchanges[-1].answer
        assert "UNAVAILABLE" in client.reach()
        client.close()
