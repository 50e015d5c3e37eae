"""Lists of bytes, which are base64 on the wire."""

import base64
import binascii
from typing import Any

from ..types import Parameters, RequestInput, ResponseOutput
from .base import InputCodec, register_input_codec
from .lists import as_list, is_list_of
from .utils import raw_data


def _bytes(elem: bytes | str) -> bytes:
    return elem.encode("ascii") if isinstance(elem, str) else elem


def _decoded(elem: bytes | str) -> bytes:
    """What is no base64 is what it is."""
    plain = _bytes(elem)
    try:
        return base64.b64decode(plain, validate=True)
    except binascii.Error:
        return plain


@register_input_codec
class Base64Codec(InputCodec):
    """An input or output is a list of bytes."""

    ContentType = "base64"
    TypeHint = list[bytes]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is a list of bytes."""
        return is_list_of(payload, bytes)

    @classmethod
    def encode_output(
        cls, name: str, payload: list[bytes], use_bytes: bool = True, **kwargs: Any
    ) -> ResponseOutput:
        """Bytes as an output. `use_bytes`: its elements are to be bytes, as gRPC needs them."""
        packed = [base64.b64encode(_bytes(each)) for each in payload]
        return ResponseOutput(
            name=name,
            datatype="BYTES",  # type: ignore[arg-type]
            shape=[len(packed), 1],
            data=packed if use_bytes else [each.decode("ascii") for each in packed],  # type: ignore[arg-type]
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[bytes]:
        """An output as bytes."""
        return [_decoded(each) for each in as_list(raw_data(response_output))]

    @classmethod
    def encode_input(
        cls, name: str, payload: list[bytes], use_bytes: bool = True, **kwargs: Any
    ) -> RequestInput:
        """Bytes as an input."""
        return RequestInput(**dict(cls.encode_output(name, payload, use_bytes)))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[bytes]:
        """An input as bytes."""
        return [_decoded(each) for each in as_list(raw_data(request_input))]
