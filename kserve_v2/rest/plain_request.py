"""Requests of the most usual form, decoded and checked in one pass.

That form is: nothing but numbers in JSON, in flat lists, for a model of fixed shapes; no parameters, and all outputs
are wanted. `codec` decodes all others, and finds the words for what is wrong with them.
"""

from typing import Any

from kserve_v2.messages import InferRequest
from kserve_v2.rest.json_tensor import plain_array
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array

_INTEGERS = frozenset({int})


def decode_plain_request(  # noqa: PLR0911 - many things can be another than usual
    document: dict[str, Any], signature: ModelSignature, version: str
) -> InferRequest | None:
    """The request of a parsed body, checked against the signature; None if it is not of the usual form, or wrong."""
    request_id, inputs = document.get("id", ""), document.get("inputs")
    if len(document) != ("id" in document) + 1 or type(request_id) is not str or type(inputs) is not list:
        return None
    fixed_inputs = signature.fixed_inputs
    arrays: dict[str, Array] = {}
    sizes: set[int] = set()
    for item in inputs:
        if type(item) is not dict or len(item) != 4:
            return None
        name, shape, data = item.get("name"), item.get("shape"), item.get("data")
        fixed = fixed_inputs.get(name) if type(name) is str else None
        if (
            fixed is None
            or item.get("datatype") != fixed.datatype
            or type(data) is not list
            or type(shape) is not list
            or not _INTEGERS.issuperset(map(type, shape))
            or len(shape) != fixed.ndim
            or tuple(shape[fixed.first :]) != fixed.dims
        ):
            return None
        try:
            array = plain_array(data, fixed.datatype)
            if array is None:
                return None
            arrays[fixed.name] = array.reshape(shape)
        except (OverflowError, ValueError):
            return None
        # numpy would infer a dimension of -1: such a request is refused below.
        sizes.add(shape[0] if fixed.first else 1)
    rows = sizes.pop() if len(sizes) == 1 else 0
    complete = len(arrays) == len(inputs) == len(fixed_inputs)
    if not complete or not 0 < rows <= signature.max_rows:
        return None
    return InferRequest(signature.model_name, arrays, version, request_id, checked=True, rows=rows)
