"""Arrays of numpy's."""

import math
from typing import Any

import numpy as np

from ..types import Datatype, Parameters, RequestInput, ResponseOutput
from .base import InputCodec, register_input_codec, register_request_codec
from .lists import is_list_of
from .utils import InputOrOutput, SingleInputRequestCodec, inject_batch_dimension, raw_data

_DTYPES = {
    Datatype.BOOL: "bool",
    Datatype.UINT8: "uint8",
    Datatype.UINT16: "uint16",
    Datatype.UINT32: "uint32",
    Datatype.UINT64: "uint64",
    Datatype.INT8: "int8",
    Datatype.INT16: "int16",
    Datatype.INT32: "int32",
    Datatype.INT64: "int64",
    Datatype.FP16: "float16",
    Datatype.FP32: "float32",
    Datatype.FP64: "float64",
}
_DATATYPES = {np.dtype(name): datatype for datatype, name in _DTYPES.items()}
_TEXTS = "OSU"


def to_dtype(input_or_output: InputOrOutput) -> "np.dtype[Any]":
    """The dtype of a tensor's elements. Of BYTES: texts as texts, and bytes as many as the last dimension says."""
    datatype = Datatype(input_or_output.datatype)
    if datatype is not Datatype.BYTES:
        return np.dtype(_DTYPES[datatype])
    if is_list_of(raw_data(input_or_output), str):
        return np.dtype(str)
    return np.dtype(("S", input_or_output.shape[-1]))


def to_datatype(dtype: "np.dtype[Any]") -> Datatype:
    """The datatype of an array, by its dtype. Raises KeyError for one that the protocol does not have."""
    return Datatype.BYTES if dtype.kind in _TEXTS else _DATATYPES[np.dtype(dtype)]


def convert_nan(value: Any) -> Any:
    """None in the place of what is not a number."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _array(tensor: InputOrOutput) -> "np.ndarray[Any, Any]":
    data, dtype = raw_data(tensor), to_dtype(tensor)
    if dtype.kind == "S" and is_list_of(data, bytes):
        # Each element is a buffer, of one or more of the tensor's elements.
        return np.concatenate([np.frombuffer(each, dtype) for each in data])
    return np.array(data, dtype)


def _elements(array: "np.ndarray[Any, Any]") -> list[Any]:
    if array.dtype.kind == "U":
        return [each.encode() for each in array.ravel().tolist()]
    if array.dtype.kind == "S":
        # One buffer: the elements are all of one length.
        return [array.tobytes()]
    elements: list[Any] = array.ravel().tolist()
    return [convert_nan(each) for each in elements] if array.dtype.kind == "f" else elements


@register_input_codec
class NumpyCodec(InputCodec):
    """An input or output is an array."""

    ContentType = "np"
    TypeHint = np.ndarray

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is an array."""
        return isinstance(payload, np.ndarray)

    @classmethod
    def encode_output(cls, name: str, payload: "np.ndarray[Any, Any]", **kwargs: Any) -> ResponseOutput:
        """An array as an output; a flat one has rows of one element."""
        return ResponseOutput(
            name=name,
            datatype=to_datatype(payload.dtype),
            shape=inject_batch_dimension(list(payload.shape)),
            data=_elements(payload),  # type: ignore[arg-type]
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> "np.ndarray[Any, Any]":
        """An output as an array."""
        return _array(response_output).reshape(response_output.shape)

    @classmethod
    def encode_input(cls, name: str, payload: "np.ndarray[Any, Any]", **kwargs: Any) -> RequestInput:
        """An array as an input."""
        return RequestInput(**dict(cls.encode_output(name, payload)))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> "np.ndarray[Any, Any]":
        """An input as an array."""
        return _array(request_input).reshape(request_input.shape)


@register_request_codec
class NumpyRequestCodec(SingleInputRequestCodec):
    """A request is an array."""

    InputCodec = NumpyCodec
    ContentType = NumpyCodec.ContentType
