"""Messages that the programs of the grpcio library send, and what they read off the answers."""

import socket

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb

SERVICE = "/inference.GRPCInferenceService"
UNARY = {
    "request_serializer": pb.ModelInferRequest.SerializeToString,
    "response_deserializer": pb.ModelInferResponse.FromString,
}
STREAM = {
    "request_serializer": pb.ModelInferRequest.SerializeToString,
    "response_deserializer": pb.ModelStreamInferResponse.FromString,
}
LARGE_BYTES = 16 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # grpcio sends a call again that a connection at its end has not taken, but only while it still has the whole request:
    # of one above this limit (256 KiB by default) nothing is kept, and the call fails as UNAVAILABLE.
    ("grpc.per_rpc_retry_buffer_size", 2 * LARGE_BYTES),
]


def floats(*values: float) -> pb.ModelInferRequest:
    """A request to the model that gives back what it gets."""
    return raw("id", "IN", "FP32", np.array(values, np.float32))


def number(model: str, name: str, value: int) -> pb.ModelInferRequest:
    """A request with one integer."""
    return raw(model, name, "INT32", np.array([value], np.int32))


def large() -> pb.ModelInferRequest:
    """A request of LARGE_BYTES, of which no two blocks are equal."""
    return raw("id", "IN", "FP32", np.random.default_rng(5).random(LARGE_BYTES // 4, np.float32))


def raw(model: str, name: str, datatype: str, array: np.ndarray) -> pb.ModelInferRequest:
    """A request with one tensor in raw form."""
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=[array.tobytes()])
    request.inputs.add(name=name, datatype=datatype, shape=array.shape)
    return request


def values(answer: pb.ModelInferResponse) -> list[float]:
    """The floating-point numbers of an answer."""
    return np.frombuffer(answer.raw_output_contents[0], np.float32).tolist()


def integer(answer: pb.ModelInferResponse) -> int:
    """The one integer of an answer."""
    return int(np.frombuffer(answer.raw_output_contents[0], np.int32).item())


def gate() -> socket.socket:
    """A listener for the model `held` to connect to."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)
    return listener
