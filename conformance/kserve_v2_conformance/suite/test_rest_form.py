"""What JSON a request may be, and what not: things that only REST has."""

import json
from copy import deepcopy
from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import rest_carrier
from kserve_v2_conformance.inference.build import closed_form, plain_request
from kserve_v2_conformance.inference.formcases import FORM_CASES, FormCase
from kserve_v2_conformance.inference.request import Failure, InferRequest
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.rest import RestAnswer
from kserve_v2_conformance.target import NotCovered, ServedModel, Target
from kserve_v2_conformance.tensors import Tensor, array


def _post(target: Target, model: ServedModel, body: object) -> RestAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return target.rest.post(f"{model.path}/infer", content, {"Content-Type": "application/json"})


def _plain(target: Target, capability: str = "identity") -> tuple[ServedModel, InferRequest, dict[str, Any]]:
    model = target.model(capability)
    if model.inputs[0].datatype in ("FP16", "BF16"):
        raise NotCovered("JSON carries no FP16 and BF16")
    request = plain_request(model)
    return model, request, rest_carrier.json_object(request)


def _succeeds(
    target: Target, check: Checks, clause: str, body: object, model: ServedModel, request: InferRequest
) -> None:
    outcome = rest_carrier.read(_post(target, model, body), check)
    Judge(check, "json").success(outcome, request, closed_form(model, request.inputs), [clause])


@pytest.mark.parametrize(
    "case", [pytest.param(each, id=each.name, marks=pytest.mark.clause(each.clause)) for each in FORM_CASES]
)
def test_case(case: FormCase, target: Target, check: Checks) -> None:
    model, request, body = _plain(target, case.model)
    outcome = rest_carrier.read(_post(target, model, case.spoil(deepcopy(body))), check)
    judge = Judge(check, "json")
    if case.loose:
        judge.failure_or(outcome, request, closed_form(model, request.inputs), [case.clause])
    else:
        judge.failure(outcome, [case.clause], blames_client=True)


@pytest.mark.clause("REST-INFER-022")
def test_order_of_members(target: Target, check: Checks) -> None:
    """All members in reverse order, with blanks and line breaks."""
    model, request, body = _plain(target)
    body["id"] = "order"
    body["inputs"] = [dict(reversed(each.items())) for each in body["inputs"]]
    text = json.dumps(dict(sorted(body.items(), reverse=True)), indent=3, separators=(" , ", " : "))
    named = InferRequest(request.model, request.inputs, id="order")
    _succeeds(target, check, "REST-INFER-022", f"\r\n\t {text} \n".encode(), model, named)


@pytest.mark.clause("REST-INFER-022")
def test_escapes(target: Target, check: Checks) -> None:
    """Every letter of every name written as an escape."""
    model, request, body = _plain(target)
    text = json.dumps(body)
    for name in ("inputs", "datatype", "shape", model.inputs[0].name):
        text = text.replace(f'"{name}"', '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"')
    _succeeds(target, check, "REST-INFER-022", text.encode(), model, request)


@pytest.mark.clause("REST-INFER-023")
def test_unknown_members(target: Target, check: Checks) -> None:
    """Members that nobody has defined, at every level."""
    model, request, body = _plain(target)
    body["model_name"] = model.name
    body["conformance"] = {"deep": [1, 2, {"x": None}]}
    body["inputs"][0]["conformance"] = [1]
    _succeeds(target, check, "REST-INFER-023", body, model, request)


@pytest.mark.clause("REST-INFER-021")
def test_model_without_versions(target: Target, check: Checks) -> None:
    """Where the metadata have no versions, responses have none."""
    model, _, body = _plain(target)
    if model.versions:
        raise NotCovered(f"{model.name} has versions")
    answer = _post(target, model, body).object()
    check.equal("REST-INFER-021", "model_version", answer.get("model_version"), None)


@pytest.mark.clause("REST-INFER-025")
def test_content_type(target: Target, check: Checks) -> None:
    """The content type of a response."""
    model, _, body = _plain(target)
    answer = _post(target, model, body)
    check.equal("REST-INFER-025", "content type", answer.content_type, "application/json")


def _matrix(target: Target) -> tuple[ServedModel, InferRequest]:
    """A request whose tensor has two dimensions, neither of them 1."""
    for capability in (
        "identity_fixed",
        "identity_matrix",
        "identity_batched",
        "identity",
        "add_sub_batched",
        "add_sub",
    ):
        model = target.find(capability)
        if (
            model is not None
            and len(model.inputs[0].shape) == 2
            and model.inputs[0].datatype in ("FP32", "FP64", "INT32", "INT64")
        ):
            shape = tuple(2 if size == -1 else size for size in model.inputs[0].shape)
            count = shape[0] * shape[1]
            inputs = tuple(
                Tensor(each.name, each.datatype, shape, array(each.datatype, list(range(1, count + 1))))
                for each in model.inputs
            )
            return model, InferRequest(model.name, inputs)
    raise NotCovered("no identity and no add_sub has two dimensions")


@pytest.mark.clause("REST-DATA-001")
def test_nested_data(target: Target, check: Checks) -> None:
    """A matrix as an array of rows."""
    model, request = _matrix(target)
    body = rest_carrier.json_object(request)
    for entry, tensor in zip(body["inputs"], request.inputs, strict=True):
        entry["data"] = tensor.values.reshape(tensor.shape).tolist()
    _succeeds(target, check, "REST-DATA-001", body, model, request)


@pytest.mark.clause("REST-DATA-002")
def test_flat_data(target: Target, check: Checks) -> None:
    """A matrix as one array."""
    model, request = _matrix(target)
    _succeeds(target, check, "REST-DATA-002", rest_carrier.json_object(request), model, request)


@pytest.mark.clause("REST-DATA-006")
def test_whole_numbers(target: Target, check: Checks) -> None:
    """1, 2, 3 instead of 1.0, 2.0, 3.0 for floating point tensors."""
    model = target.find("identity.FP32") or target.model("identity.FP64")
    request = plain_request(model)
    body = rest_carrier.json_object(request)
    body["inputs"][0]["data"] = [int(each) for each in body["inputs"][0]["data"]]
    _succeeds(target, check, "REST-DATA-006", body, model, request)


# What is no value of the datatype, and what it may be converted to; None: nothing.
_MISTYPED: dict[str, tuple[str, list[object], list[object] | None]] = {
    "string-for-number": ("FP32", ["1.5", "2.5"], [1.5, 2.5]),
    "text-for-number": ("FP32", ["one", "two"], None),
    "boolean-for-number": ("FP32", [True, False], [1.0, 0.0]),
    "null-for-number": ("FP32", [None, 1.0], None),
    "object-for-number": ("FP32", [{}, 1.0], None),
    "fraction-for-integer": ("INT32", [1.5, 2.5], None),
    "whole-fraction-for-integer": ("INT32", [1.0, 2.0], [1, 2]),
    "string-for-integer": ("INT32", ["1", "2"], [1, 2]),
    "integer-for-boolean": ("BOOL", [1, 0], [True, False]),
    "string-for-boolean": ("BOOL", ["true", "false"], [True, False]),
    "number-for-string": ("BYTES", [1, 2], ["1", "2"]),
    "null-for-string": ("BYTES", [None, "b"], None),
}


@pytest.mark.clause("REST-DATA-003")
@pytest.mark.parametrize("name", _MISTYPED)
def test_mistyped_element(name: str, target: Target, check: Checks) -> None:
    """Elements of a JSON type that is not the datatype's: converted or refused."""
    datatype, data, converted = _MISTYPED[name]
    outcome, model, request = _send_elements(target, check, datatype, data)
    judge = Judge(check, "json")
    if converted is None:
        judge.failure(outcome, ["REST-DATA-003"], blames_client=True)
    else:
        request = InferRequest(request.model, (_tensor(model, converted),))
        judge.failure_or(outcome, request, closed_form(model, request.inputs), ["REST-DATA-003"])


_OUT_OF_RANGE: dict[str, tuple[str, list[object]]] = {
    "uint8-256": ("UINT8", [1, 256]),
    "uint8-negative": ("UINT8", [1, -1]),
    "int8-128": ("INT8", [1, 128]),
    "int16-32768": ("INT16", [1, 32768]),
    "int32-2147483648": ("INT32", [1, 2147483648]),
    "int64-9223372036854775808": ("INT64", [1, 9223372036854775808]),
    "uint64-18446744073709551616": ("UINT64", [1, 18446744073709551616]),
}


@pytest.mark.clause("REST-DATA-004")
@pytest.mark.parametrize("name", _OUT_OF_RANGE)
def test_out_of_range(name: str, target: Target, check: Checks) -> None:
    """Integers that the datatype does not have."""
    outcome, _, _ = _send_elements(target, check, *_OUT_OF_RANGE[name])
    Judge(check, "json").failure(outcome, ["REST-DATA-004"], blames_client=True)


@pytest.mark.clause("REST-DATA-005")
@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision(datatype: str, target: Target, check: Checks) -> None:
    """Numbers that both have exactly: carried, or refused."""
    numbers: list[object] = [1.0, -2.5]
    outcome, model, request = _send_elements(target, check, datatype, numbers)
    Judge(check, "json").failure_or(outcome, request, closed_form(model, request.inputs), ["REST-DATA-005"])


def _tensor(model: ServedModel, values: list[object]) -> Tensor:
    tensor = model.inputs[0]
    if tensor.shape not in ((-1,), (2,)):
        raise NotCovered(f"{model.name} does not take tensors of the shape [2]")
    return Tensor(tensor.name, tensor.datatype, (2,), array(tensor.datatype, values))


def _send_elements(
    target: Target, check: Checks, datatype: str, data: list[object]
) -> tuple[Any, ServedModel, InferRequest]:
    """Send two elements as they are; returns the outcome, the model, and the request with numbers in their place."""
    model = target.model(f"identity.{datatype}")
    stand_in: list[object] = (
        data if datatype in ("FP16", "BF16") else ["a", "b"] if datatype == "BYTES" else [1, 0]
    )
    request = InferRequest(model.name, (_tensor(model, stand_in),))
    body = rest_carrier.json_object(request)
    body["inputs"][0]["data"] = data
    return rest_carrier.read(_post(target, model, body), check), model, request


@pytest.mark.clause("REST-ERROR-006")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/no/such/path", 404),
        ("GET", "/no_such_path", 404),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/models/{model}/infer", 405),
        ("DELETE", "/v2", 405),
    ],
)
def test_unknown_route(method: str, path: str, status: int, target: Target, check: Checks) -> None:
    """A path or a method that the protocol does not have."""
    answer = target.rest.send(method, path.format(model=target.model("identity").name))
    check.equal("REST-ERROR-006", f"status of {method} {path}", answer.status, status)


@pytest.mark.clause("REST-ERROR-007")
def test_serving_goes_on(target: Target, check: Checks) -> None:
    """A valid request after several that were refused."""
    model, request, body = _plain(target)
    for broken in (b"", b"{", b"[]", json.dumps({**body, "inputs": "none"}).encode()):
        _post(target, model, broken)
    _succeeds(target, check, "REST-ERROR-007", body, model, request)


@pytest.mark.clause("REST-ERROR-001", "REST-ERROR-002", "REST-ERROR-003", "REST-ERROR-004", "REST-ERROR-005")
def test_error_body(target: Target, check: Checks) -> None:
    """What an error looks like."""
    model, _, body = _plain(target)
    body["inputs"][0]["datatype"] = "FLOAT99"
    outcome = rest_carrier.read(_post(target, model, body), check)
    if isinstance(outcome, Failure):
        check.that(
            "REST-ERROR-003",
            "status of a mistake of the client",
            outcome.blames_client,
            "4xx",
            outcome.status,
        )
