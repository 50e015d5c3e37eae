"""Requests of the v1 protocol as those of v2: `instances`, row by row, or `inputs`, tensor by tensor.

The texts of the errors are TF Serving's where it has one
(https://github.com/tensorflow/serving/blob/master/tensorflow_serving/util/json_tensor.cc).
"""

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.tensors import (
    Elements,
    LargeList,
    Numbers,
    first_not,
    json_types,
    numbers_array,
    types_of,
)
from kserve_v2.json_data.text import parse_json
from kserve_v2.json_data.values import B64, LongText, flat_texts, flatten_nested, is_base64
from kserve_v2.messages import InferRequest
from kserve_v2.net.limits import check_dimensions
from kserve_v2.rest.parameters import decode_parameters
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BYTES, Array
from kserve_v2.v1.flavours import Manners

SIGNATURE = "serving_default"
"""The one that every model has."""

TF_DATATYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "half", "BF16": "bfloat16", "FP32": "float",
    "FP64": "double", "BYTES": "string",
}  # fmt: skip
"""TensorFlow's names of the datatypes. In its metadata they are capital letters behind `DT_`."""

SIGNATURE_NAME = "signature_name"

INSTANCES, INPUTS, EXAMPLES, _PARAMETERS = "instances", "inputs", "examples", "parameters"
_MEMBERS = frozenset({SIGNATURE_NAME, INSTANCES, INPUTS, _PARAMETERS})

_JSON_KINDS: Mapping[type, str] = {
    type(None): "Null", bool: "Bool", int: "Number", float: "Number", str: "String", list: "Array", dict: "Object",
}  # fmt: skip

# Of an element that is repeated in an error.
_SHOWN_BYTES = 80


class Columns(NamedTuple):
    """Rows of numbers by name, read already. `text`: as they were sent. `values`: of all rows, by name. `rows`: their
    number.
    """

    text: memoryview
    values: Mapping[str, Numbers]
    rows: int


class Decoded(NamedTuple):
    """A request, and whether it came row by row: then so does the answer."""

    request: InferRequest
    by_row: bool


def decode_predict(document: Any, signature: ModelSignature, version: str, manners: Manners) -> Decoded:
    """The request of a parsed body. Raises InvalidArgumentError that names the member, input or instance."""
    check_body(document, _MEMBERS, manners)
    request = InferRequest(signature.model_name, {}, version)
    parameters = document.get(_PARAMETERS)
    # They are those of v2: neither of the two servers has any.
    if parameters is not None and decode_parameters(parameters, request):
        raise InvalidArgumentError(
            "parameter 'binary_data_output': answers of the v1 protocol have no binary data; /v2/models/MODEL/infer has"
        )
    by_row = INSTANCES in document
    if by_row and INPUTS in document:
        raise InvalidArgumentError(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if by_row:
        values = _columns(document[INSTANCES], signature, manners)
    elif INPUTS in document:
        values = _named(document[INPUTS], signature, manners)
    else:
        raise InvalidArgumentError("Missing 'inputs' or 'instances' key")
    for name, value in values.items():
        request.inputs[name] = decode_tensor(value, signature.inputs[name], signature)
    return Decoded(request, by_row)


def check_body(document: Any, known: frozenset[str], manners: Manners) -> None:
    """Raise InvalidArgumentError for a parsed body that is no object, names a signature that there is not, or has
    members that are not `known`, which TF Serving passes over.
    """
    if not isinstance(document, dict):
        raise InvalidArgumentError("the body of a request must be a JSON object")
    unknown = [name for name in document if name not in known]
    if unknown and not manners.of_tf_serving:
        raise InvalidArgumentError(
            f"unknown member {', '.join(map(repr, unknown[:8]))}: a request has {', '.join(sorted(known))}"
        )
    name = document.get(SIGNATURE_NAME, "")
    if not isinstance(name, str):
        raise InvalidArgumentError("'signature_name' key must be a string value.")
    if name not in ("", SIGNATURE):
        raise InvalidArgumentError(
            f'Serving signature name: "{name[:_SHOWN_BYTES]}" not found in signature def; there is "{SIGNATURE}"'
        )


# --- which value is whose -----------------------------------------------------------------------------------------


def _columns(instances: Any, signature: ModelSignature, manners: Manners) -> Mapping[str, Elements]:
    """The values of each input, one for each instance."""
    if isinstance(instances, Columns):
        if fits(instances.values.keys(), signature):
            return instances.values
        instances = parse_json(instances.text)
    if not isinstance(instances, list | LargeList):
        text = "Expecting 'instances' to be an list/array"
        raise InvalidArgumentError(text if manners.of_tf_serving else 'Expected "instances" to be a list')
    if not instances:
        raise InvalidArgumentError("No values in 'instances' array")
    if isinstance(instances, list) and isinstance(instances[0], dict) and not is_base64(instances[0]):
        # They have the values of inputs by their names, and are not themselves values.
        return columns_of(instances, signature)
    return _of_one_input(instances, signature, "instances is a plain list, but expecting list of objects")


def _of_one_input(value: Any, signature: ModelSignature, problem: str) -> Mapping[str, Any]:
    """The value of a model's only input. Raises InvalidArgumentError with the `problem` of those that have more."""
    if len(signature.inputs) != 1:
        raise InvalidArgumentError(
            f"{problem} as multiple input tensors required as per tensorinfo_map: {', '.join(signature.inputs)}"
        )
    return dict.fromkeys(signature.inputs, value)


def columns_of(rows: list[Any], signature: ModelSignature, what: str = INSTANCES) -> Mapping[str, list[Any]]:
    """The values of each input of rows by name. `what` holds them. Raises InvalidArgumentError for a row that has not
    the names that it should have.
    """
    first = rows[0].keys() if isinstance(rows[0], dict) else frozenset()
    known = fits(first, signature)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            kind = _JSON_KINDS.get(type(row), "?")
            raise InvalidArgumentError(
                f"Failed to process element: {number} of '{what}' list. It is of type {kind}, and the first one is an "
                "Object"
            )
        if row.keys() != first or not known:
            raise InvalidArgumentError(
                f"Failed to process element: {number} of '{what}' list. JSON object: {_shown(row)} keys must be equal "
                f"to: {','.join(signature.inputs if row.keys() == first else first)}"
            )
    columns = {name: [row[name] for row in rows] for name in first}
    if B64 in columns:
        # There it is the name of an input.
        columns[B64] = [str(each) if isinstance(each, LongText) else each for each in columns[B64]]
    return columns


def fits(names: Set[str], signature: ModelSignature) -> bool:
    """Whether these are all that a request has to have, and none is no input's."""
    return signature.required <= names <= signature.inputs.keys()


def _named(inputs: Any, signature: ModelSignature, manners: Manners) -> Mapping[str, Any]:
    """The value of each input of the column form."""
    if not isinstance(inputs, dict) or (len(signature.inputs) == 1 and is_base64(inputs)):
        return _of_one_input(inputs, signature, "inputs is a plain value/list, but expecting an object")
    for name in signature.inputs:
        if name not in inputs and name in signature.required:
            raise InvalidArgumentError(f"Missing named input: {name} in 'inputs' object.")
    unknown = [name for name in inputs if name not in signature.inputs]
    if unknown and not manners.of_tf_serving:
        raise InvalidArgumentError(
            f"'inputs' object has {', '.join(map(repr, unknown[:8]))}; the inputs of model "
            f"'{signature.model_name}' are {', '.join(signature.inputs)}"
        )
    return {name: inputs[name] for name in signature.inputs if name in inputs}


# --- tensors ------------------------------------------------------------------------------------------------------


def decode_tensor(value: Any, tensor: TensorSignature, signature: ModelSignature) -> Array:
    """A value, or lists in lists of values, as a tensor of the shape that it has. Whether that is the model's, is
    checked where all requests are. One value for each row is enough where a row has one element.
    """
    elements, sizes = flatten_nested(value, tensor.name)
    check_dimensions(sizes, tensor.name)
    array = _elements(elements, tensor)
    row = tensor.dims if signature.max_batch_size else tensor.dims[1:]
    if len(sizes) == 1 and row and set(row) == {1}:
        return array.reshape(sizes + row)
    return array.reshape(sizes)


def _elements(elements: Elements, tensor: TensorSignature) -> Array:
    """A flat array. Raises InvalidArgumentError for an element of another type."""
    datatype, name = tensor.datatype, tensor.name
    wanted: set[type] = {str, dict} if datatype is BYTES else json_types(datatype)
    if not types_of(elements) <= wanted:
        number, wrong = first_not(elements, wanted)
        raise InvalidArgumentError(
            f"JSON Value: {_shown(wrong)} Type: {_JSON_KINDS[type(wrong)]} is not of expected type: "
            f"{TF_DATATYPES[datatype.name]} (input '{name}', element {number})"
        )
    return flat_texts(elements, name) if datatype is BYTES else numbers_array(elements, datatype, name, "")


def _shown(value: Any) -> str:
    """As much of a value as an error repeats."""
    text = orjson.dumps(value, default=str)
    return text.decode() if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES].decode(errors='ignore')}…"
