"""A bare grpc.aio servicer: `python -m benchmarks.yardsticks.servicer add_sub MODEL_FILE`, or `identity`.

The protocol's own messages, numpy and the model called in place, on uvloop as in the server.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import uvloop

from benchmarks.yardsticks.add_sub import AddSub
from kserve_v2._generated import grpc_service_pb2 as pb

_MAX_REQUEST_BYTES = 64 * 2**20  # the server's default


class Raw:
    """`add_sub` with raw contents."""

    def __init__(self, model_file: str) -> None:
        self._model = AddSub(model_file)

    async def infer(self, request: pb.ModelInferRequest, _context: Any) -> pb.ModelInferResponse:
        """ModelInfer."""
        return self._model.message(request)

    async def stream(
        self, requests: AsyncIterator[pb.ModelInferRequest], _context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """ModelStreamInfer."""
        async for request in requests:
            yield pb.ModelStreamInferResponse(infer_response=self._model.message(request))


async def identity(request: pb.ModelInferRequest, _context: Any) -> pb.ModelInferResponse:
    """ModelInfer: INPUT FP32 of any shape raw, OUTPUT raw."""
    (raw,) = request.raw_input_contents
    array = np.frombuffer(raw, dtype=np.float32).reshape(request.inputs[0].shape)
    response = pb.ModelInferResponse(model_name="identity", model_version="1")
    response.outputs.add(name="OUTPUT", datatype="FP32", shape=array.shape)
    response.raw_output_contents.append(array.tobytes())
    return response


async def serve(infer: Any, stream: Any = None) -> None:
    """Serve ModelInfer, and ModelStreamInfer if there is one, until the process is ended."""
    limits = [
        ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
        ("grpc.max_send_message_length", -1),
    ]
    server = grpc.aio.server(options=limits)
    methods = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(
            infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
        )
    }
    if stream is not None:
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            stream, pb.ModelInferRequest.FromString, pb.ModelStreamInferResponse.SerializeToString
        )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"gRPC 127.0.0.1:{port}", flush=True)
    # Ended by a signal: there is nothing to save.
    await asyncio.Event().wait()


def main() -> None:
    """The process."""
    if sys.argv[1] == "add_sub":
        add_sub = Raw(sys.argv[2])
        uvloop.run(serve(add_sub.infer, add_sub.stream))
    else:
        uvloop.run(serve(identity))


if __name__ == "__main__":
    main()
