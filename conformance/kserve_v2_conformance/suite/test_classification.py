"""The classification extension: the largest elements instead of all."""

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse
from kserve_v2_conformance.suite.support import both, protocol, request_of, succeed, values_of
from kserve_v2_conformance.target import ServedModel, Target
from kserve_v2_conformance.tensors import Tensor, array

_SCORES: list[object] = [1.0, 5.0, 10.0, 4.0]


def _asking(model: ServedModel, count: int) -> InferRequest:
    return request_of(
        model, _SCORES, outputs=(model.outputs[0].name,), output_parameters={"classification": count}
    )


def _classes(values: list[object] | None) -> list[tuple[float, int]] | None:
    """Value and index of each element, or None if an element has another form."""
    try:
        parts = [str(value, "utf-8").split(":") for value in values or () if isinstance(value, bytes)]
        return [(float(part[0]), int(part[1])) for part in parts]
    except (ValueError, IndexError):
        return None


@both("CLASS-001")
def test_largest_two(carrier: str, target: Target, check: Checks) -> None:
    """The two largest of four."""
    clause, model = f"{protocol(carrier)}-CLASS-001", target.model("classes")
    response = succeed(target, check, carrier, _asking(model, 2), clause)
    if response is None:
        return
    values = values_of(response, model.outputs[0].name)
    output = response.outputs[0] if response.outputs else None
    check.equal(clause, "datatype", output and output.datatype, "BYTES")
    check.equal(clause, "shape", output and output.shape, (2,))
    check.equal(clause, "value and index of the classes", _classes(values), [(10.0, 2), (5.0, 1)])


@both("CLASS-001")
def test_order_of_all(carrier: str, target: Target, check: Checks) -> None:
    """All four, largest first."""
    clause, model = f"{protocol(carrier)}-CLASS-001", target.model("classes")
    response = succeed(target, check, carrier, _asking(model, 4), clause)
    values = values_of(response, model.outputs[0].name)
    check.equal(clause, "value and index", _classes(values), [(10.0, 2), (5.0, 1), (4.0, 3), (1.0, 0)])


@both("CLASS-002")
def test_labels(carrier: str, target: Target, check: Checks) -> None:
    """The labels of the classes."""
    clause, model = f"{protocol(carrier)}-CLASS-002", target.model("classes")
    response = succeed(target, check, carrier, _asking(model, 3), clause)
    values = values_of(response, model.outputs[0].name) or []
    labels = [str(value, "utf-8").split(":")[2:] for value in values if isinstance(value, bytes)]
    check.equal(clause, "labels", labels, [["bird"], ["dog"], ["fish"]])


@both("CLASS-003")
def test_batch(carrier: str, target: Target, check: Checks) -> None:
    """Two rows, two classes each."""
    clause, model = f"{protocol(carrier)}-CLASS-003", target.model("classes_batched")
    tensor = model.inputs[0]
    rows = Tensor(tensor.name, "FP32", (2, 4), array("FP32", [1, 5, 10, 4, 8, 7, 6, 5]))
    request = InferRequest(
        model.name, (rows,), (model.outputs[0].name,), output_parameters={"classification": 2}
    )
    response = succeed(target, check, carrier, request, clause)
    if response is None:
        return
    check.equal(clause, "shape", response.outputs[0].shape if response.outputs else None, (2, 2))
    classes = _classes(values_of(response, model.outputs[0].name))
    check.equal(clause, "value and index", classes, [(10.0, 2), (5.0, 1), (8.0, 0), (7.0, 1)])


@both("CLASS-004")
def test_more_than_there_are(carrier: str, target: Target, check: Checks) -> None:
    """Nine of four."""
    clause, model = f"{protocol(carrier)}-CLASS-004", target.model("classes")
    outcome = infer(target, _asking(model, 9), carrier, check)
    count = len(values_of(outcome, model.outputs[0].name) or [])
    got = f"an error {outcome.status}" if isinstance(outcome, Failure) else f"{count} classes"
    check.that(clause, "answer", isinstance(outcome, Failure) or count == 4, "four classes, or an error", got)


@pytest.mark.needs("binary_tensor_data")
@pytest.mark.clause("REST-CLASS-005")
def test_as_bytes(target: Target, check: Checks) -> None:
    """The two largest of four, as bytes behind the JSON object."""
    model = target.model("classes")
    response = infer(target, _asking(model, 2), "binary", check)
    name = model.outputs[0].name
    forms = [each.form for each in response.outputs] if isinstance(response, InferResponse) else str(response)
    check.equal("REST-CLASS-005", "forms of the outputs", forms, ["binary"])
    classes = _classes(values_of(response, name))
    check.equal("REST-CLASS-005", "value and index of the classes", classes, [(10.0, 2), (5.0, 1)])
