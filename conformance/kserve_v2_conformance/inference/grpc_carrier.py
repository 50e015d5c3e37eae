"""Inference over gRPC: raw contents, or typed ones."""

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse, Outcome, SeenOutput
from kserve_v2_conformance.rpc import GrpcError, parameters
from kserve_v2_conformance.tensors import (
    Tensor,
    UnreadableTensor,
    from_contents,
    from_raw,
    to_contents,
    to_raw,
)

CLIENT_CODES = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "ALREADY_EXISTS",
)


def encode_raw(request: InferRequest) -> pb.ModelInferRequest:
    """All inputs in raw contents."""
    message = _head(request)
    message.raw_input_contents.extend(to_raw(each) for each in request.inputs)
    return message


def encode_typed(request: InferRequest) -> pb.ModelInferRequest:
    """All inputs in typed contents."""
    message = _head(request)
    for entry, tensor in zip(message.inputs, request.inputs, strict=True):
        entry.contents.CopyFrom(to_contents(tensor))
    return message


def _head(request: InferRequest) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(
        model_name=request.model,
        model_version=request.version,
        id=request.id,
        parameters=parameters(request.parameters or {}),
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name=each.name,
                datatype=each.datatype,
                shape=each.shape,
                parameters=parameters(request.input_parameters),
            )
            for each in request.inputs
        ],
        outputs=[
            pb.ModelInferRequest.InferRequestedOutputTensor(
                name=name, parameters=parameters(request.output_parameters)
            )
            for name in request.outputs or ()
        ],
    )


def read(answer: pb.ModelInferResponse | GrpcError, checks: Checks) -> Outcome:
    """The outcome of an answer; what is wrong with its form is noted."""
    if isinstance(answer, GrpcError):
        checks.that("GRPC-ERROR-001", "status", kept=True, expected="not OK", got=answer.code)
        checks.that(
            "GRPC-ERROR-004", "message", bool(answer.details.strip()), "a description", repr(answer.details)
        )
        return Failure(answer.code, answer.details, answer.code in CLIENT_CODES)
    return read_response(answer, checks)


def read_response(message: pb.ModelInferResponse, checks: Checks) -> InferResponse:
    """A response of ModelInfer or ModelStreamInfer."""
    raw = list(message.raw_output_contents)
    if raw:
        checks.equal("GRPC-RAW-004", "number of raw contents", len(raw), len(message.outputs))
        typed = [each.name for each in message.outputs if each.HasField("contents")]
        checks.equal("GRPC-RAW-004", "outputs with typed contents beside raw ones", typed, [])
    outputs = tuple(
        _read_output(entry, raw[index] if index < len(raw) else None)
        for index, entry in enumerate(message.outputs)
    )
    return InferResponse(
        message.model_name,
        message.model_version or None,
        message.id or None,
        outputs,
        {name: _value(each) for name, each in message.parameters.items()},
    )


def _value(parameter: pb.InferParameter) -> object:
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def _read_output(entry: pb.ModelInferResponse.InferOutputTensor, raw: bytes | None) -> SeenOutput:
    shape = tuple(entry.shape)
    form = "raw" if raw is not None else "typed"
    tensor, problem = None, ""
    if entry.datatype not in DATATYPES:
        problem = f"its datatype is {entry.datatype!r}"
    else:
        try:
            values = (
                from_contents(entry.datatype, entry.contents)
                if raw is None
                else from_raw(entry.datatype, raw)
            )
            tensor = Tensor(entry.name, entry.datatype, shape, values)
        except UnreadableTensor as error:
            problem = str(error)
    return SeenOutput(entry.name, entry.datatype, shape, tensor, problem, form)
