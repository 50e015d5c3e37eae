"""`:classify` and `:regress` of TF Serving: examples by the names of their features in, labels with scores or one
number for each out.

Models have no signatures for that here. What they say is enough where it leaves nothing open: an output with labels is
a classification, and one number for each row is a regression.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.large import slice_rows
from kserve_v2.json_data.tensors import Elements, dumped
from kserve_v2.json_data.text import parse_json
from kserve_v2.json_data.values import as_lists
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.slices import Slices
from kserve_v2.tensors.datatypes import BOOL, BYTES, Array
from kserve_v2.v1.codec import (
    EXAMPLES,
    SIGNATURE_NAME,
    Columns,
    check_body,
    columns_of,
    decode_tensor,
    fits,
)
from kserve_v2.v1.flavours import Manners

CLASSIFY, REGRESS = "classify", "regress"

_CONTEXT = "context"
_MEMBERS = frozenset({SIGNATURE_NAME, EXAMPLES, _CONTEXT})


def decode_examples(
    document: Any, verb: str, signature: ModelSignature, output: str, version: str, manners: Manners
) -> InferRequest:
    """The request of a parsed body, for that output alone. Raises InvalidArgumentError."""
    check_body(document, _MEMBERS, manners)
    examples, context = document.get(EXAMPLES), document.get(_CONTEXT, {})
    if examples is None:
        raise InvalidArgumentError(f"When method is {verb}, key '{EXAMPLES}' is expected and was not found")
    if not isinstance(examples, list | Columns) or not examples:
        raise InvalidArgumentError(f"Expecting '{EXAMPLES}' value to be a list/array with an example in it")
    if not isinstance(context, dict):
        raise InvalidArgumentError(f"Expecting '{_CONTEXT}' value to be an object")
    request = InferRequest(signature.model_name, {}, version, requested_outputs=(output,))
    if isinstance(examples, Columns) and not fits(context.keys() | examples.values.keys(), signature):
        examples = parse_json(examples.text)
    columns: Mapping[str, Elements]
    if isinstance(examples, Columns):
        columns = {**{name: [value] for name, value in context.items()}, **examples.values}
    else:
        rows = [{**context, **each} if isinstance(each, dict) else each for each in examples]
        columns = columns_of(rows, signature, EXAMPLES)
    for name, values in columns.items():
        array = _features(values, signature.inputs[name], signature)
        if isinstance(examples, Columns) and name not in examples.values:
            # What the context says holds for each of them.
            array = np.repeat(array, examples.rows, axis=0)
        request.inputs[name] = array
    return request


def _features(values: Elements, tensor: TensorSignature, signature: ModelSignature) -> Array:
    """Features are flat lists, whatever the shape of the tensor is, or a value that stands for a list with it alone."""
    if isinstance(values, list) and any(isinstance(each, list) for each in values):
        values = [each if isinstance(each, list) else [each] for each in values]
    array = decode_tensor(values, tensor, signature)
    row = tensor.dims if signature.max_batch_size else tensor.dims[1:]
    if array.ndim == 2 and -1 not in row and prod(row) == array.shape[1]:
        return array.reshape(len(array), *row)
    return array


def classified(signature: ModelSignature, labels: Mapping[str, Sequence[str]]) -> str:
    """The output that is a classification. Raises InvalidArgumentError if that is open."""
    return _only([name for name in signature.outputs if labels.get(name)], CLASSIFY, signature, "has labels")


def output_of(verb: str, signature: ModelSignature, labels: Mapping[str, Sequence[str]]) -> str:
    """The output that a verb is for. Raises as `classified` and `regressed`."""
    return classified(signature, labels) if verb == CLASSIFY else regressed(signature)


def regressed(signature: ModelSignature) -> str:
    """The output that is a regression. Raises InvalidArgumentError if that is open."""
    numbers = [
        name
        for name, tensor in signature.outputs.items()
        if tensor.datatype not in (BOOL, BYTES)
        and set(tensor.dims if signature.max_batch_size else tensor.dims[1:]) <= {1}
    ]
    return _only(numbers, REGRESS, signature, "is one number for each row")


def _only(found: Sequence[str], verb: str, signature: ModelSignature, what: str) -> str:
    if len(found) == 1:
        return found[0]
    many = (
        f"{len(found)} of its outputs are such ({', '.join(found)})" if found else f"no output of it {what}"
    )
    raise InvalidArgumentError(
        f"Expected {verb} signature method_name to be tensorflow/serving/{verb}. Was: tensorflow/serving/predict: of "
        f"model '{signature.model_name}', an output that {what} is taken for one, and {many}"
    )


def encode_results(
    response: InferResponse, output: str, labels: Sequence[str] | None
) -> Slices[Sequence[bytes]]:
    """The body of an answer, in parts: to `:classify` all classes in their order, "" for one that has no label; to
    `:regress`, where there are no `labels`, a number for each row.
    """
    array = _rows(response.outputs[output], output)
    names = [*(labels or ()), *[""] * array.shape[1]]
    parts = [b'{"results":[']
    at_once = slice_rows(array.shape[1])
    for at in range(0, len(array), at_once):
        part = as_lists(array[at : at + at_once])
        results = (
            [*part[:, 0]]
            if labels is None
            else [[[name, score] for name, score in zip(names, row, strict=False)] for row in part]
        )
        parts += [b"," if at else b"", dumped(results)[1:-1]]
        yield
    return [*parts, b"]}"]


def _rows(array: Array, output: str) -> Array:
    if not array.ndim:
        raise InvalidArgumentError(f"Tensor name: {output} has no shape information")
    return array.reshape(len(array), prod(array.shape[1:]))
