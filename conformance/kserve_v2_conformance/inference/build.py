"""Builds the request of a case for a served model, and the outputs that are expected of it."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.inference.cases import InferCase
from kserve_v2_conformance.inference.changes import apply
from kserve_v2_conformance.inference.fit import fill, fitted_shape, suits
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.models.catalogue import Behaviour
from kserve_v2_conformance.target import NotCovered, ServedModel, ServedTensor, Target
from kserve_v2_conformance.tensors import Tensor, array

_FEW = {"BOOL": (True, False, False, True, True), "BYTES": ("one", "two", "", "four", "fünf")}
_NUMBERS = (1, 2, 3, 4, 5)


def build(case: InferCase, target: Target) -> tuple[InferRequest, tuple[Tensor, ...]]:
    """The request and the expected outputs; both without meaning where the case expects an error only.

    Raises NotCovered if no served model suits.
    """
    model = target.model(case.model)
    inputs = _inputs(case, model)
    expected = _expected(case, model, inputs)
    requested = case.requested
    if requested is not None:
        if any(index >= len(model.outputs) for index in requested):
            raise NotCovered(f"the model {model.name} has too few outputs")
        expected = tuple(expected[index] for index in requested) if requested else expected
    request = InferRequest(
        model=model.name,
        inputs=inputs[::-1] if case.reverse else inputs,
        outputs=None if requested is None else tuple(model.outputs[index].name for index in requested),
        version=case.version,
        id=case.id,
        parameters=case.parameters,
        input_parameters=case.input_parameters,
        output_parameters=case.output_parameters,
    )
    return apply(case.changes, request, model), expected


def as_sent(case: InferCase, target: Target, request: InferRequest) -> tuple[tuple[Tensor, ...], ...]:
    """The answers that are right for what a loose case sent: its inputs in the model's order, with another datatype
    also those values in the model's."""
    model = target.model(case.model)
    sent = tuple(request.inputs[: len(model.inputs)])
    meant = _inputs(case, model)
    answers = [closed_form(model, sent)]
    if [each.shape for each in sent] == [each.shape for each in meant]:
        answers.append(closed_form(model, meant))
    return tuple(answers)


def plain_request(model: ServedModel, count: int = 5) -> InferRequest:
    """A valid request with a few values."""
    inputs = tuple(_input(each, {}, exact=False, count=count) for each in model.inputs)
    return InferRequest(model.name, inputs)


def _inputs(case: InferCase, model: ServedModel) -> tuple[Tensor, ...]:
    wanted: Sequence[dict[str, Any]] = case.inputs or [{}] * len(model.inputs)
    if len(wanted) > len(model.inputs):
        raise NotCovered(f"the model {model.name} has {len(model.inputs)} inputs, the case {len(wanted)}")
    # A case may have fewer inputs than the model: the others are optional.
    return tuple(
        _input(tensor, entry, case.exact) for tensor, entry in zip(model.inputs, wanted, strict=False)
    )


def _input(tensor: ServedTensor, entry: dict[str, Any], exact: bool, count: int = 5) -> Tensor:
    values = _values(tensor.datatype, entry, count)
    shape = tuple(entry["shape"]) if "shape" in entry else None
    if shape is None or not suits(tensor.shape, shape):
        if exact and not (shape is None and suits(tensor.shape, (len(values),))):
            raise NotCovered(
                f"the case needs the shape {list(shape or [len(values)])}, {tensor.name} has {list(tensor.shape)}"
            )
        shape = fitted_shape(tensor.shape, len(values))
        if len(values) != prod(shape):
            values = array(tensor.datatype, fill(list(values), prod(shape)))
    return Tensor(tensor.name, tensor.datatype, shape, values)


def _values(datatype: str, entry: dict[str, Any], count: int) -> Any:
    if "hex" in entry:
        return array(datatype, [bytes.fromhex(each) for each in entry["hex"]])
    if "bytes" in entry:
        return _ramp(datatype, entry["bytes"])
    values = entry["data"] if "data" in entry else fill(_FEW.get(datatype, _NUMBERS), count)
    return array(datatype, values)


def _ramp(datatype: str, size: int) -> Any:
    """`size` bytes of data in which no two neighbours are equal, so that shifted data show."""
    if datatype == "BYTES":
        return array("BYTES", [bytes(str(index), "ascii").rjust(60, b".") for index in range(size // 64)])
    row = DATATYPES[datatype]
    return (np.arange(size // row.item_size) % 251).astype(row.dtype)


def _expected(case: InferCase, model: ServedModel, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if case.outputs:
        return tuple(
            _output(tensor, entry) for tensor, entry in zip(model.outputs, case.outputs, strict=True)
        )
    if case.error:
        return ()
    return closed_form(model, inputs)


def _output(tensor: ServedTensor, entry: dict[str, Any]) -> Tensor:
    values = _values(tensor.datatype, entry, 0)
    return Tensor(tensor.name, tensor.datatype, tuple(entry.get("shape", (len(values),))), values)


def closed_form(model: ServedModel, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What an identity or an add_sub computes; inputs in the model's order."""
    if model.behaviour is Behaviour.IDENTITY:
        values = [each.values for each in inputs]
    elif model.behaviour is Behaviour.ADD_SUB:
        first, second = (each.values for each in inputs)
        values = [first + second, first - second]
    else:
        raise ValueError(f"a case for {model.name} has to say its expected outputs")
    return tuple(
        replace(source, name=output.name, values=each)
        for source, output, each in zip(inputs, model.outputs, values, strict=True)
    )
