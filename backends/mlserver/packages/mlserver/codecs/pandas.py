"""Data frames of pandas': each tensor is a column."""

from typing import Any

import numpy as np
import pandas as pd

from ..types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
    TensorData,
)
from .base import RequestCodec, register_request_codec
from .json import decode_json_input_or_output, encode_to_json
from .numpy import convert_nan, to_datatype, to_dtype
from .string import StringCodec, encode_str
from .utils import InputOrOutput, get_decoded_or_raw, inject_batch_dimension


def _series(tensor: InputOrOutput) -> Any:
    if tensor.parameters is not None and tensor.parameters.content_type == PandasCodec.JsonContentType:
        return pd.Series(decode_json_input_or_output(tensor))
    payload = get_decoded_or_raw(tensor)
    payload = getattr(payload, "root", payload)
    if Datatype(tensor.datatype) is Datatype.BYTES:
        return pd.Series(payload)
    if isinstance(payload, np.ndarray):
        payload = payload.reshape(tensor.shape[0], 1).squeeze(axis=1)
    return pd.Series(payload, dtype=to_dtype(tensor))


def _output(series: Any, use_bytes: bool) -> ResponseOutput:
    # Text columns have a dtype of their own from pandas 3 on, which numpy does not know.
    known = isinstance(series.dtype, np.dtype)
    datatype = to_datatype(series.dtype) if known else Datatype.BYTES
    data = [convert_nan(each) for each in series.tolist()] if series.isnull().any() else series.tolist()
    content_type = None
    if datatype is Datatype.BYTES:
        data, content_type = _texts(data, use_bytes)
    made = ResponseOutput(
        name=series.name,
        shape=inject_batch_dimension(list(series.shape)),
        data=TensorData(data),
        datatype=datatype,
    )
    if content_type:
        made.parameters = Parameters(content_type=content_type)
    return made


def _texts(data: list[Any], use_bytes: bool) -> tuple[list[Any], str]:
    """Texts as such, if there is nothing else; everything as JSON if there is."""
    if all(isinstance(each, str | bytes) for each in data):
        encode = use_bytes
        return [
            encode_str(each) if encode and isinstance(each, str) else each for each in data
        ], StringCodec.ContentType
    return [encode_to_json(each, use_bytes) for each in data], PandasCodec.JsonContentType


@register_request_codec
class PandasCodec(RequestCodec):
    """A request or response is a data frame."""

    ContentType = "pd"
    JsonContentType = "pd_json"
    TypeHint = pd.DataFrame

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is a data frame."""
        return isinstance(payload, pd.DataFrame)

    @classmethod
    def encode_outputs(cls, payload: Any, use_bytes: bool = True) -> list[ResponseOutput]:
        """Each column as an output."""
        return [_output(payload[name], use_bytes) for name in payload]

    @classmethod
    def encode_response(
        cls,
        model_name: str,
        payload: Any,
        model_version: str | None = None,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> InferenceResponse:
        """A data frame as a response."""
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            parameters=Parameters(content_type=cls.ContentType),
            outputs=cls.encode_outputs(payload, use_bytes),
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """A response as a data frame."""
        return pd.DataFrame({each.name: _series(each) for each in response.outputs})

    @classmethod
    def encode_request(cls, payload: Any, use_bytes: bool = True, **kwargs: Any) -> InferenceRequest:
        """A data frame as a request."""
        inputs = [RequestInput(**dict(each)) for each in cls.encode_outputs(payload, use_bytes)]
        return InferenceRequest(parameters=Parameters(content_type=cls.ContentType), inputs=inputs)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """A request as a data frame."""
        return pd.DataFrame({each.name: _series(each) for each in request.inputs})
