"""Requests of the most usual form, decoded and checked in one pass.

That form is: nothing but numbers in JSON, in flat lists, for a model of fixed shapes; no parameters, and all outputs
are wanted. `codec` decodes all others, and finds the words for what is wrong with them.
"""

from typing import Any

from kserve_v2.datatypes import Array
from kserve_v2.messages import InferRequest
from kserve_v2.rest.json_tensor import decode_plain_numbers
from kserve_v2.signature import ModelSignature


def decode_plain_request(
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
        name, datatype = item.get("name"), item.get("datatype")
        fixed = fixed_inputs.get(name) if type(name) is str else None
        if fixed is None or datatype != fixed.datatype:
            return None
        array = decode_plain_numbers(item.get("data"), datatype, item.get("shape"))
        if array is None or array.ndim != fixed.ndim or array.shape[fixed.first :] != fixed.dims:
            return None
        arrays[fixed.name] = array
        sizes.add(len(array) if fixed.first else 1)
    rows = sizes.pop() if len(sizes) == 1 else 0
    if not len(arrays) == len(inputs) == len(fixed_inputs) or not 0 < rows <= signature.max_rows:
        return None
    return InferRequest(signature.model_name, arrays, version, request_id, checked=True, rows=rows)
