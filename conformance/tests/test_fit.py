"""Values of cases, fitted to models of other shapes; and what cases make wrong."""

from dataclasses import replace
from typing import Any

import pytest

from kserve_v2_conformance.inference.build import build, closed_form, plain_request
from kserve_v2_conformance.inference.cases import InferCase, infer_cases
from kserve_v2_conformance.inference.changes import apply
from kserve_v2_conformance.inference.fit import fill, fitted_shape, suits
from kserve_v2_conformance.models.catalogue import Behaviour
from kserve_v2_conformance.target import NotCovered, ServedModel, ServedTensor


@pytest.mark.parametrize(
    ("model_shape", "count", "shape"),
    [
        ((-1,), 5, (5,)),
        ((-1, 4), 6, (2, 4)),
        ((-1, -1), 6, (1, 6)),
        ((2, 3), 4, (2, 3)),
        ((-1, 16), 5, (1, 16)),
        ((), 5, ()),
        ((-1,), 0, (1,)),
    ],
)
def test_fitted_shape(model_shape: tuple[int, ...], count: int, shape: tuple[int, ...]) -> None:
    assert fitted_shape(model_shape, count) == shape


def test_suits() -> None:
    assert suits((-1, 3), (7, 3))
    assert not suits((-1, 3), (7, 4))
    assert not suits((-1, 3), (3,))
    assert fill([1, 2], 5) == [1, 2, 1, 2, 1]


class _Target:
    """Finds one model, whatever is asked for."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def model(self, _capability: str) -> ServedModel:
        return self._model


def _model(shape: tuple[int, ...], datatype: str = "FP32", inputs: int = 1) -> ServedModel:
    tensors = tuple(ServedTensor(f"T{n}", datatype, shape) for n in range(inputs))
    behaviour = Behaviour.IDENTITY if inputs == 1 else Behaviour.ADD_SUB
    return ServedModel("m", behaviour, tensors, tensors, ("1",), None)


def _build(case: InferCase, model: ServedModel) -> Any:
    return build(case, _Target(model))  # type: ignore[arg-type]


def test_values_are_repeated_in_a_larger_model() -> None:
    case = InferCase("c", "", (), inputs=({"data": [1, 2, 3]},))
    request, expected = _build(case, _model((-1, 4)))
    assert request.inputs[0].shape == (1, 4)
    assert request.inputs[0].values.tolist() == expected[0].values.tolist() == [1, 2, 3, 1]


def test_exact_cases_are_not_fitted() -> None:
    case = InferCase("c", "", (), inputs=({"data": [], "shape": [0]},), exact=True)
    with pytest.raises(NotCovered, match=r"needs the shape \[0\]"):
        _build(case, _model((2, 3)))


def test_case_with_more_inputs_than_the_model() -> None:
    with pytest.raises(NotCovered, match="has 1 inputs, the case 2"):
        _build(InferCase("c", "", (), inputs=({}, {})), _model((-1,)))
    with pytest.raises(NotCovered, match="too few outputs"):
        _build(InferCase("c", "", (), requested=(1,)), _model((-1,)))


def test_closed_form_of_another_model() -> None:
    model = ServedModel("m", Behaviour.LENGTH, *(((ServedTensor("T", "BYTES", (-1,))),),) * 2, (), None)
    with pytest.raises(ValueError, match="expected outputs"):
        closed_form(model, plain_request(model).inputs)


@pytest.mark.parametrize(
    ("changes", "model", "reason"),
    [
        ({"other_datatype": True}, _model((-1,), "BYTES"), "no other datatype"),
        ({"wrong_fixed_dimension": True}, _model((-1,)), "all dimensions"),
    ],
)
def test_changes_that_a_model_does_not_allow(
    changes: dict[str, Any], model: ServedModel, reason: str
) -> None:
    with pytest.raises(NotCovered, match=reason):
        apply(changes, plain_request(model), model)


def test_names_of_cases_are_unique_and_carried() -> None:
    for case in infer_cases():
        assert list(case.runs_over()), case.name


def test_bytes_that_are_no_text_have_no_form_in_json() -> None:
    case = InferCase("c", "", ("DATA-BYTES",), inputs=({"hex": ["ff"]},))
    assert [each.name for each in case.runs_over()] == ["binary", "grpc-raw", "grpc-typed"]


def test_names_without_letters_have_no_other_case() -> None:
    model = _model((-1,))
    digits = replace(
        model, inputs=(replace(model.inputs[0], name="0"),), outputs=(replace(model.outputs[0], name="1"),)
    )
    for change in ("input_case", "output_case"):
        with pytest.raises(NotCovered, match="has no letters"):
            apply({change: True}, plain_request(digits), digits)
