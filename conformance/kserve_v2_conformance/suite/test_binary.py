"""The binary tensor data extension: who gets bytes, and which bytes are wrong."""

from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import rest_carrier
from kserve_v2_conformance.inference.build import closed_form, plain_request
from kserve_v2_conformance.inference.request import InferRequest, InferResponse, Outcome
from kserve_v2_conformance.inference.rest_carrier import Encoded
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.rest import HEADER_LENGTH
from kserve_v2_conformance.suite.support import values_of
from kserve_v2_conformance.target import NotCovered, ServedModel, Target
from kserve_v2_conformance.tensors import Tensor, to_raw


def _add_sub(target: Target) -> tuple[ServedModel, InferRequest]:
    model = target.model("add_sub")
    return model, plain_request(model, count=4)


def _body(request: InferRequest, binary: tuple[bool, bool]) -> tuple[dict[str, Any], list[bytes]]:
    """A request object some of whose inputs are bytes."""
    body = rest_carrier.json_object(request)
    blobs = []
    for entry, tensor, as_bytes in zip(body["inputs"], request.inputs, binary, strict=True):
        if as_bytes:
            del entry["data"]
            blobs.append(to_raw(tensor))
            entry["parameters"] = {"binary_data_size": len(blobs[-1])}
    return body, blobs


def _send(
    target: Target, check: Checks, model: ServedModel, body: dict[str, Any], blobs: list[bytes]
) -> Outcome:
    encoded = rest_carrier.encode_mixed(f"{model.path}/infer", body, blobs)
    return rest_carrier.read(rest_carrier.send(target.rest, encoded), check)


def _check_forms(
    check: Checks, clause: str, outcome: Outcome, model: ServedModel, request: InferRequest, forms: list[str]
) -> None:
    """The right values, and the form of each output in the model's order."""
    if not isinstance(outcome, InferResponse):
        check.that(clause, "a valid request", False, "success", str(outcome))
        return
    for expected, form in zip(closed_form(model, request.inputs), forms, strict=True):
        seen = [each.form for each in outcome.outputs if each.name == expected.name]
        check.equal(clause, f"form of {expected.name}", seen, [form])
        got = values_of(outcome, expected.name)
        check.equal(clause, f"values of {expected.name}", got, expected.values.tolist())


# parameters of the request, of the first and of the second requested output, and the forms of the outputs
_CHOICES: dict[str, tuple[str, dict[str, Any], list[Any] | None, list[str]]] = {
    "output-binary": (
        "REST-BIN-002",
        {},
        [{"binary_data": True}, {"binary_data": True}],
        ["binary", "binary"],
    ),
    "all-binary": ("REST-BIN-003", {"binary_data_output": True}, None, ["binary", "binary"]),
    "all-binary-false": ("REST-BIN-003", {"binary_data_output": False}, None, ["json", "json"]),
    "output-outweighs": (
        "REST-BIN-004",
        {"binary_data_output": True},
        [{"binary_data": False}, {"binary_data": False}],
        ["json", "json"],
    ),
    "output-outweighs-false": (
        "REST-BIN-004",
        {"binary_data_output": False},
        [{"binary_data": True}, {"binary_data": True}],
        ["binary", "binary"],
    ),
    "default": ("REST-BIN-005", {}, None, ["json", "json"]),
    "default-named": ("REST-BIN-005", {}, [None, None], ["json", "json"]),
    "mixed-outputs": (
        "REST-BIN-006",
        {},
        [{"binary_data": True}, {"binary_data": False}],
        ["binary", "json"],
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.clause(choice[0])) for name, choice in _CHOICES.items()]
)
def test_form_of_outputs(name: str, target: Target, check: Checks) -> None:
    """Which outputs are bytes, by the parameters of the request and of its outputs."""
    clause, parameters, outputs, forms = _CHOICES[name]
    model, request = _add_sub(target)
    body, blobs = _body(request, (True, True))
    if parameters:
        body["parameters"] = parameters
    if outputs is not None:
        body["outputs"] = [
            {"name": tensor.name} | ({"parameters": chosen} if chosen else {})
            for tensor, chosen in zip(model.outputs, outputs, strict=True)
        ]
    _check_forms(check, clause, _send(target, check, model, body, blobs), model, request, forms)


@pytest.mark.clause("REST-BIN-001", "REST-BIN-006")
@pytest.mark.parametrize("binary", [(True, False), (False, True)], ids=["first", "second"])
def test_mixed_inputs(binary: tuple[bool, bool], target: Target, check: Checks) -> None:
    """One input as bytes, the other in JSON."""
    model, request = _add_sub(target)
    outcome = _send(target, check, model, *_body(request, binary))
    for clause in ("REST-BIN-001", "REST-BIN-006"):
        _check_forms(check, clause, outcome, model, request, ["json", "json"])


@pytest.mark.clause("REST-BIN-001")
def test_header_length_of_plain_json(target: Target, check: Checks) -> None:
    """The length is given though nothing follows."""
    model, request = _add_sub(target)
    outcome = _send(target, check, model, rest_carrier.json_object(request), [])
    _check_forms(check, "REST-BIN-001", outcome, model, request, ["json", "json"])


def _refused(target: Target, check: Checks, clause: str, encoded: Encoded) -> None:
    outcome = rest_carrier.read(rest_carrier.send(target.rest, encoded), check)
    Judge(check, "binary").failure(outcome, [clause], blames_client=True)


def _encoded(target: Target) -> Encoded:
    return rest_carrier.encode_binary(plain_request(target.model("identity")))


@pytest.mark.clause("REST-BIN-008")
def test_too_short(target: Target, check: Checks) -> None:
    """The last byte is missing."""
    encoded = _encoded(target)
    _refused(target, check, "REST-BIN-008", Encoded(encoded.path, encoded.body[:-1], encoded.headers))


@pytest.mark.clause("REST-BIN-009")
def test_too_long(target: Target, check: Checks) -> None:
    """Four bytes too many."""
    encoded = _encoded(target)
    _refused(
        target, check, "REST-BIN-009", Encoded(encoded.path, encoded.body + b"\0\0\0\0", encoded.headers)
    )


@pytest.mark.clause("REST-BIN-010")
@pytest.mark.parametrize("change", [-1, 1], ids=["smaller", "larger"])
def test_wrong_size(change: int, target: Target, check: Checks) -> None:
    """One element more or less than the shape says, announced as such."""
    model = target.model("identity")
    request = plain_request(model)
    tensor = request.inputs[0]
    values = tensor.values[:-1] if change < 0 else tensor.values.repeat(2)[: len(tensor.values) + 1]
    wrong = Tensor(tensor.name, tensor.datatype, tensor.shape, values)
    _refused(target, check, "REST-BIN-010", rest_carrier.encode_binary(InferRequest(model.name, (wrong,))))


@pytest.mark.clause("REST-BIN-010")
def test_cut_string(target: Target, check: Checks) -> None:
    """A string that says it is longer than it is."""
    model = target.model("identity.BYTES")
    body = rest_carrier.json_object(InferRequest(model.name, plain_request(model).inputs))
    blob = b"\x04\0\0\0abcd\xff\xff\0\0ab"
    body["inputs"][0] |= {"shape": [2], "parameters": {"binary_data_size": len(blob)}}
    del body["inputs"][0]["data"]
    _refused(target, check, "REST-BIN-010", rest_carrier.encode_mixed(f"{model.path}/infer", body, [blob]))


@pytest.mark.clause("REST-BIN-011")
def test_header_beyond_body(target: Target, check: Checks) -> None:
    """The JSON is said to be longer than the body."""
    encoded = _encoded(target)
    headers = {**encoded.headers, HEADER_LENGTH: str(len(encoded.body) + 1)}
    _refused(target, check, "REST-BIN-011", Encoded(encoded.path, encoded.body, headers))


@pytest.mark.clause("REST-BIN-012")
@pytest.mark.parametrize("capability", ["identity", "identity_batched"])
def test_raw_request(capability: str, target: Target, check: Checks) -> None:
    """A body of nothing but data."""
    model = target.model(capability)
    if model.inputs[0].datatype == "BYTES" or model.inputs[0].shape.count(-1) > 1 + (
        capability != "identity"
    ):
        raise NotCovered(f"the shape of {model.name} does not follow from the number of bytes")
    request = plain_request(model, count=3)
    body = b"".join(to_raw(each) for each in request.inputs)
    answer = target.rest.post(f"{model.path}/infer", body, {HEADER_LENGTH: "0"})
    outcome = rest_carrier.read(answer, check)
    _check_forms(check, "REST-BIN-012", outcome, model, request, ["binary"])


@pytest.mark.clause("REST-BIN-013")
def test_raw_request_for_two_inputs(target: Target, check: Checks) -> None:
    """Nobody can know where the second input starts."""
    model, request = _add_sub(target)
    body = b"".join(to_raw(each) for each in request.inputs)
    _refused(target, check, "REST-BIN-013", Encoded(f"{model.path}/infer", body, {HEADER_LENGTH: "0"}))


@pytest.mark.clause("REST-BIN-014")
def test_content_type(target: Target, check: Checks) -> None:
    """The content type of an answer with bytes."""
    answer = rest_carrier.send(target.rest, _encoded(target))
    check.equal("REST-BIN-014", "content type", answer.content_type, "application/octet-stream")


@pytest.mark.clause("REST-BIN-015")
def test_raw_text(target: Target, check: Checks) -> None:
    """A body that is one element of a BYTES tensor."""
    model = target.model("generate_text")
    answer = target.rest.post(f"{model.path}/infer", b"raw text", {HEADER_LENGTH: "0"})
    got = values_of(rest_carrier.read(answer, check), model.outputs[0].name)
    check.equal("REST-BIN-015", "text_output", str(got), str([b"RAW TEXT"]))
