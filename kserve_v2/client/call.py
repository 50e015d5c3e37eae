"""What a caller of `infer` or `stream` has asked for, and how it becomes a request."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kserve_v2.client import images
from kserve_v2.client.description import ModelInfo, TensorInfo
from kserve_v2.client.request import ParameterValue, Request, SequenceStep, all_parameters
from kserve_v2.client.shapes import Fitted, fit, take_off
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, Array, Datatype
from kserve_v2.tensors.values import is_image, to_array


@dataclass(frozen=True, slots=True)
class Call:
    """As the caller has said it. `classes`: how many of the highest values are wanted: of all outputs, or by output."""

    model: str
    values: Mapping[str, Any]
    version: str = ""
    outputs: Sequence[str] = ()
    classes: int | Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    id: str = ""


def make_call(
    model: str,
    inputs: Mapping[str, Any] | None,
    named: Mapping[str, Any],
    *,
    version: int | str,
    outputs: Sequence[str] | None,
    classes: int | Mapping[str, int] | None,
    parameters: Mapping[str, ParameterValue] | None,
    request_id: str,
    sequence: SequenceStep | None,
) -> Call:
    """Of the arguments of `infer`. Raises InvalidArgumentError."""
    if inputs is not None and not isinstance(inputs, Mapping):
        raise InvalidArgumentError(
            f"expected inputs by name, as in infer({model!r}, image=array) or infer({model!r}, {{'image': array}}), "
            f"got a {type(inputs).__name__}"
        )
    values = dict(inputs or {})
    for name, value in named.items():
        if name in values:
            raise InvalidArgumentError(f"input '{name}' is given twice")
        values[name] = value
    if not isinstance(model, str) or not model:
        raise InvalidArgumentError(f"expected a model's name, got {model!r}")
    if isinstance(outputs, str):
        raise InvalidArgumentError(f"outputs: expected a list of names, got the text {outputs!r}")
    classes = classes or {}
    counts = [classes] if isinstance(classes, int) else list(classes.values())
    if not all(isinstance(count, int) and count > 0 for count in counts):
        raise InvalidArgumentError(f"classes: expected whole numbers from 1, got {classes!r}")
    return Call(
        model,
        values,
        "" if version in (None, "") else str(version),
        tuple(outputs or ()),
        classes,
        all_parameters(parameters, sequence),
        str(request_id),
    )


def make_request(call: Call, info: ModelInfo) -> tuple[Request, bool]:
    """The request, and whether its answer is to be given without the batch dimension. Raises InvalidArgumentError for
    values that are not what the model takes.
    """
    fitted = {name: _fitted(name, value, info) for name, value in call.values.items()}
    one_row = take_off(fitted)
    outputs, classes = _outputs(call, info)
    inputs = {name: each.array for name, each in fitted.items()}
    return Request(call.model, call.version, inputs, outputs, classes, call.parameters, call.id), one_row


def _fitted(name: str, value: Any, info: ModelInfo) -> Fitted:
    tensor = info.inputs.get(name)
    if tensor is None:
        if info.known:
            raise InvalidArgumentError(f"model '{info.name}' has no input '{name}'{_hint(name, info.inputs)}")
        return Fitted(to_array(value, None, name))
    datatype = BY_NAME.get(tensor.datatype)
    return fit(_array(value, tensor, datatype, info), tensor, info.batched)


def _hint(name: str, names: Mapping[str, Any]) -> str:
    by_lower = {each.lower(): each for each in names}
    alike = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f", did you mean '{by_lower[alike[0]]}'?" if alike else f", it has: {', '.join(names) or 'none'}"


def _array(value: Any, tensor: TensorInfo, datatype: Datatype | None, info: ModelInfo) -> Array:
    if is_image(value):
        return _image(value, tensor, datatype, info)
    if isinstance(value, list | tuple) and value and is_image(value[0]):
        parts = [_array(each, tensor, datatype, info) for each in value]
        if len({part.shape for part in parts}) > 1:
            raise InvalidArgumentError(f"input '{tensor.name}': its images have different sizes")
        return np.stack(parts)
    return to_array(value, datatype, tensor.name)


def _image(image: Any, tensor: TensorInfo, datatype: Datatype | None, info: ModelInfo) -> Array:
    if datatype is None:
        raise InvalidArgumentError(
            f"input '{tensor.name}': nobody knows what it takes; give an array or bytes"
        )
    if datatype is BYTES:
        return to_array(images.as_png(image, tensor.name), datatype, tensor.name)
    # Of four dimensions the first is a number of images, whoever makes batches.
    dims = tensor.shape[1:] if info.batched else tensor.shape
    return to_array(images.as_pixels(image, dims, datatype.dtype, tensor.name), datatype, tensor.name)


def _outputs(call: Call, info: ModelInfo) -> tuple[Sequence[str], Mapping[str, int]]:
    """The names of the outputs that are asked for, and how many classes of which."""
    if info.outputs:
        wanted = (*call.outputs, *(call.classes if isinstance(call.classes, Mapping) else ()))
        for name in wanted:
            if name not in info.outputs:
                raise InvalidArgumentError(
                    f"model '{info.name}' has no output '{name}'{_hint(name, info.outputs)}"
                )
    if isinstance(call.classes, Mapping):
        # An output whose classes are wanted has to be named, and then all have to be.
        names = call.outputs or (tuple(info.outputs) or tuple(call.classes) if call.classes else ())
        return tuple(dict.fromkeys((*names, *call.classes))), call.classes
    names = call.outputs or tuple(info.outputs)
    if not names:
        raise InvalidArgumentError("classes: the server does not say what outputs there are: name them")
    texts = ("BYTES", "BOOL")
    has_classes = [
        name for name in names if name not in info.outputs or info.outputs[name].datatype not in texts
    ]
    return names, dict.fromkeys(has_classes, call.classes)
