"""What a case makes wrong about a valid request: a table of changes, by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.target import NotCovered, ServedModel
from kserve_v2_conformance.tensors import Tensor, array

NOBODY = "no_such_name"


def apply(changes: dict[str, Any], request: InferRequest, model: ServedModel) -> InferRequest:
    """The request with all changes of a case."""
    for name, value in changes.items():
        request = _CHANGES[name](request, value, model)
    return request


def _first(request: InferRequest, **members: Any) -> InferRequest:
    first, *others = request.inputs
    return replace(request, inputs=(replace(first, **members), *others))


def _model(request: InferRequest, value: str, _model: ServedModel) -> InferRequest:
    return replace(request, model=value)


def _version(request: InferRequest, value: str, _model: ServedModel) -> InferRequest:
    return replace(request, version=value)


def _input_name(request: InferRequest, value: str, _model: ServedModel) -> InferRequest:
    return _first(request, name=value)


def _extra_input(request: InferRequest, value: str, _model: ServedModel) -> InferRequest:
    return replace(request, inputs=(*request.inputs, replace(request.inputs[0], name=value)))


def _repeat_input(request: InferRequest, _value: bool, _model: ServedModel) -> InferRequest:
    return replace(request, inputs=(*request.inputs, request.inputs[0]))


def _drop_inputs(request: InferRequest, value: int, _model: ServedModel) -> InferRequest:
    """Leave out the last inputs; -1: all of them."""
    return replace(request, inputs=() if value == -1 else request.inputs[: len(request.inputs) - value])


def _other_datatype(request: InferRequest, _value: bool, _model: ServedModel) -> InferRequest:
    """Another datatype with the same size of elements, so that nothing else is wrong."""
    first = request.inputs[0]
    size = DATATYPES[first.datatype].item_size
    others = [
        row
        for row in DATATYPES.values()
        if row.item_size == size and row.name != first.datatype and row.contents_field
    ]
    if not others or first.datatype == "BYTES":
        raise NotCovered(f"no other datatype has the size of {first.datatype}")
    other = next((row for row in others if row.is_integer), others[0])
    return _first(request, datatype=other.name, values=first.values.astype(other.dtype))


def _shape(request: InferRequest, value: list[int], _model: ServedModel) -> InferRequest:
    return _first(request, shape=tuple(value))


def _first_dimension(request: InferRequest, value: int, _model: ServedModel) -> InferRequest:
    return _first(request, shape=(value, *request.inputs[0].shape[1:]))


def _extra_dimension(request: InferRequest, value: int, _model: ServedModel) -> InferRequest:
    return _first(request, shape=(*request.inputs[0].shape, value))


def _wrong_fixed_dimension(request: InferRequest, _value: bool, model: ServedModel) -> InferRequest:
    """Exchange a fixed dimension for one that is larger, with data to match."""
    fixed = [index for index, size in enumerate(model.inputs[0].shape) if size > 0]
    if not fixed:
        raise NotCovered(f"all dimensions of {model.name} vary")
    first = request.inputs[0]
    shape = list(first.shape)
    shape[fixed[-1]] += 1
    return _first(
        request,
        shape=tuple(shape),
        values=_resized(first, len(first.values) // first.shape[fixed[-1]] * shape[fixed[-1]]),
    )


def _batch(request: InferRequest, value: int, _model: ServedModel) -> InferRequest:
    """That many rows instead of one."""
    changed = []
    for each in request.inputs:
        rows = each.shape[0] or 1
        shape = (value, *each.shape[1:])
        changed.append(replace(each, shape=shape, values=_resized(each, len(each.values) // rows * value)))
    return replace(request, inputs=tuple(changed))


def _elements(request: InferRequest, value: int, _model: ServedModel) -> InferRequest:
    """More elements than the shape says, or fewer."""
    return _first(request, values=_resized(request.inputs[0], len(request.inputs[0].values) + value))


def _output_name(request: InferRequest, value: str, _model: ServedModel) -> InferRequest:
    return replace(request, outputs=(value,))


def _input_case(request: InferRequest, _value: bool, _model: ServedModel) -> InferRequest:
    return _first(request, name=in_other_case(request.inputs[0].name))


def _output_case(request: InferRequest, _value: bool, model: ServedModel) -> InferRequest:
    return replace(request, outputs=(in_other_case(model.outputs[0].name),))


def in_other_case(name: str) -> str:
    """A name with small letters for capitals, and the other way. Raises NotCovered where it has neither."""
    if name.swapcase() == name:
        raise NotCovered(f"the name {name} has no letters")
    return name.swapcase()


def _resized(tensor: Tensor, count: int) -> Any:
    values = list(tensor.values)
    return array(tensor.datatype, (values * (count // max(len(values), 1) + 1))[:count])


_CHANGES: dict[str, Callable[[InferRequest, Any, ServedModel], InferRequest]] = {
    "model": _model,
    "version": _version,
    "input_name": _input_name,
    "extra_input": _extra_input,
    "repeat_input": _repeat_input,
    "drop_inputs": _drop_inputs,
    "other_datatype": _other_datatype,
    "datatype": lambda request, value, _: _first(request, datatype=value),
    "shape": _shape,
    "first_dimension": _first_dimension,
    "extra_dimension": _extra_dimension,
    "wrong_fixed_dimension": _wrong_fixed_dimension,
    "batch": _batch,
    "elements": _elements,
    "output_name": _output_name,
    "input_case": _input_case,
    "output_case": _output_case,
}
