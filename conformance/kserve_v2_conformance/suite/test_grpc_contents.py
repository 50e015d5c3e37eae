"""Contents of gRPC messages: raw and typed, and how they must not be mixed."""

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier
from kserve_v2_conformance.inference.build import closed_form, plain_request
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.rpc import GrpcError, answer_type
from kserve_v2_conformance.target import NotCovered, ServedModel, Target

_CALLS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")


def _typed(target: Target) -> tuple[ServedModel, InferRequest]:
    model = target.model("identity")
    if model.inputs[0].datatype in ("FP16", "BF16"):
        raise NotCovered("typed contents carry no FP16 and BF16")
    return model, plain_request(model)


@pytest.mark.clause("GRPC-SERVICE-001")
@pytest.mark.parametrize("call", _CALLS)
def test_service(call: str, target: Target, check: Checks) -> None:
    """The call exists: whatever it answers to an empty request, it is not UNIMPLEMENTED."""
    answer = target.grpc.call(getattr(pb, f"{call}Request")(), answer_type(call))
    code = answer.code if isinstance(answer, GrpcError) else "OK"
    kept = code not in ("UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED")
    check.that("GRPC-SERVICE-001", f"status of {call}", kept, "a status of the call's own", code)


def _refused(target: Target, check: Checks, clause: str, message: pb.ModelInferRequest) -> None:
    outcome = grpc_carrier.read(target.grpc.call(message, pb.ModelInferResponse), check)
    Judge(check, "grpc-raw").failure(outcome, [clause], blames_client=True)


@pytest.mark.clause("GRPC-RAW-001")
def test_raw_order(target: Target, check: Checks) -> None:
    """Raw entries belong to the inputs in the order of the request, not of the model."""
    model = target.model("add_sub")
    request = plain_request(model)
    first, second = request.inputs
    reversed_request = InferRequest(model.name, (second, first))
    outcome = grpc_carrier.read(
        target.grpc.call(grpc_carrier.encode_raw(reversed_request), pb.ModelInferResponse), check
    )
    Judge(check, "grpc-raw").success(outcome, request, closed_form(model, request.inputs), ["GRPC-RAW-001"])


@pytest.mark.clause("GRPC-RAW-002")
def test_raw_and_typed(target: Target, check: Checks) -> None:
    """The same data twice: raw and typed."""
    _, request = _typed(target)
    message = grpc_carrier.encode_typed(request)
    message.raw_input_contents.extend(grpc_carrier.encode_raw(request).raw_input_contents)
    _refused(target, check, "GRPC-RAW-002", message)


@pytest.mark.clause("GRPC-RAW-002")
def test_raw_for_one_typed_for_other(target: Target, check: Checks) -> None:
    """The first input raw, the second typed."""
    request = plain_request(target.model("add_sub"))
    message = grpc_carrier.encode_typed(request)
    message.inputs[0].ClearField("contents")
    message.raw_input_contents.append(grpc_carrier.encode_raw(request).raw_input_contents[0])
    _refused(target, check, "GRPC-RAW-002", message)


@pytest.mark.clause("GRPC-RAW-003")
@pytest.mark.parametrize("change", ["shorter", "longer"])
def test_raw_size(change: str, target: Target, check: Checks) -> None:
    """An entry that is one byte off."""
    message = grpc_carrier.encode_raw(plain_request(target.model("identity")))
    raw = message.raw_input_contents[0]
    message.raw_input_contents[0] = raw[:-1] if change == "shorter" else raw + b"\0"
    _refused(target, check, "GRPC-RAW-003", message)


@pytest.mark.clause("GRPC-RAW-004")
def test_raw_answer(target: Target, check: Checks) -> None:
    """The form of a response to a raw request."""
    model = target.model("add_sub")
    request = plain_request(model)
    answer = target.grpc.succeed(grpc_carrier.encode_raw(request), pb.ModelInferResponse)
    raw, typed = len(answer.raw_output_contents), sum(each.HasField("contents") for each in answer.outputs)
    either = (raw, typed) in ((len(answer.outputs), 0), (0, len(answer.outputs)))
    got = f"{raw} raw entries and {typed} typed contents for {len(answer.outputs)} outputs"
    check.that("GRPC-RAW-004", "contents of the response", either, "all raw, or all typed", got)


@pytest.mark.clause("GRPC-RAW-005")
def test_too_few_raw(target: Target, check: Checks) -> None:
    """One entry for two inputs."""
    message = grpc_carrier.encode_raw(plain_request(target.model("add_sub")))
    del message.raw_input_contents[1]
    _refused(target, check, "GRPC-RAW-005", message)


@pytest.mark.clause("GRPC-TYPED-002")
def test_wrong_typed_field(target: Target, check: Checks) -> None:
    """Numbers of an FP32 input in the field of FP64."""
    model = target.model("identity.FP32")
    request = plain_request(model)
    message = grpc_carrier.encode_raw(request)
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp64_contents.extend(request.inputs[0].values.tolist())
    _refused(target, check, "GRPC-TYPED-002", message)


@pytest.mark.clause("GRPC-TYPED-003")
@pytest.mark.parametrize("form", ["absent", "empty"])
def test_no_contents(form: str, target: Target, check: Checks) -> None:
    """A shape, but no elements."""
    message = grpc_carrier.encode_raw(plain_request(target.model("identity")))
    del message.raw_input_contents[:]
    if form == "empty":
        message.inputs[0].contents.SetInParent()
    _refused(target, check, "GRPC-TYPED-003", message)


@pytest.mark.clause("GRPC-TYPED-004")
def test_typed_half_precision(target: Target, check: Checks) -> None:
    """Numbers of an FP16 input in the field of FP32."""
    request = plain_request(target.model("identity.FP16"))
    message = grpc_carrier.encode_raw(request)
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend(request.inputs[0].values.tolist())
    _refused(target, check, "GRPC-TYPED-004", message)


@pytest.mark.clause("GRPC-ERROR-007")
def test_serving_goes_on(target: Target, check: Checks) -> None:
    """A valid request after several that were refused."""
    model, request = _typed(target)
    target.grpc.call(pb.ModelInferRequest(), pb.ModelInferResponse)
    target.grpc.call(pb.ModelInferRequest(model_name=model.name), pb.ModelInferResponse)
    target.grpc.call(pb.ModelInferRequest(model_name="no_such_model"), pb.ModelInferResponse)
    outcome = grpc_carrier.read(
        target.grpc.call(grpc_carrier.encode_typed(request), pb.ModelInferResponse), check
    )
    Judge(check, "grpc-typed").success(
        outcome, request, closed_form(model, request.inputs), ["GRPC-ERROR-007"]
    )


@pytest.mark.clause("GRPC-ERROR-001", "GRPC-ERROR-003", "GRPC-ERROR-004")
def test_error_status(target: Target, check: Checks) -> None:
    """What an error looks like."""
    request = pb.ModelInferRequest(model_name="no_such_model")
    outcome = grpc_carrier.read(target.grpc.call(request, pb.ModelInferResponse), check)
    Judge(check, "grpc-raw").failure(outcome, ["GRPC-ERROR-001"], blames_client=True)
