"""Codecs: from tensors to what Python programs work with, and back. A content type says which."""

from typing import Any

from .base import (
    InputCodec,
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    register_input_codec,
    register_request_codec,
)
from .base64 import Base64Codec
from .datetime import DatetimeCodec
from .decorator import decode_args
from .errors import CodecError
from .numpy import NumpyCodec, NumpyRequestCodec
from .string import StringCodec, StringRequestCodec
from .utils import (
    DecodedParameterName,
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)

try:
    # Where pandas is installed, its codec is one of those that content types name.
    from .pandas import PandasCodec
except ModuleNotFoundError as missing:
    if missing.name != "pandas":
        raise
    from . import without_pandas as without_pandas

__all__ = [
    "Base64Codec",
    "CodecError",
    "DatetimeCodec",
    "DecodedParameterName",
    "InputCodec",
    "InputCodecLike",
    "NumpyCodec",
    "NumpyRequestCodec",
    "PandasCodec",
    "RequestCodec",
    "RequestCodecLike",
    "StringCodec",
    "StringRequestCodec",
    "decode_args",
    "decode_inference_request",
    "decode_request_input",
    "encode_inference_response",
    "encode_response_output",
    "get_decoded",
    "get_decoded_or_raw",
    "has_decoded",
    "register_input_codec",
    "register_request_codec",
]


def __getattr__(name: str) -> Any:
    if name == "PandasCodec":
        raise ImportError("mlserver.codecs.PandasCodec needs pandas: pip install pandas", name="pandas")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
