"""Lists of texts."""

from typing import Any

from ..types import Parameters, RequestInput, ResponseOutput
from .base import InputCodec, register_input_codec, register_request_codec
from .lists import as_list, is_list_of
from .utils import SingleInputRequestCodec, raw_data


def encode_str(elem: str) -> bytes:
    """A text in UTF-8."""
    return elem.encode()


def decode_str(encoded: Any, str_codec: str = "utf-8") -> Any:
    """The text of bytes; texts, and None, are what they are. Of anything else there is none."""
    if isinstance(encoded, bytes):
        return encoded.decode(str_codec)
    return encoded if encoded is None or isinstance(encoded, str) else ""


@register_input_codec
class StringCodec(InputCodec):
    """An input or output is a list of texts."""

    ContentType = "str"
    TypeHint = list[str]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is a list of texts."""
        return is_list_of(payload, str)

    @classmethod
    def encode_output(
        cls, name: str, payload: list[str], use_bytes: bool = True, **kwargs: Any
    ) -> ResponseOutput:
        """Texts as an output. `use_bytes`: its elements are to be bytes, as gRPC needs them."""
        return ResponseOutput(
            name=name,
            datatype="BYTES",  # type: ignore[arg-type]
            shape=[len(payload), 1],
            data=[encode_str(each) if use_bytes else each for each in payload],  # type: ignore[arg-type]
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[str]:
        """An output as texts."""
        return [decode_str(each) for each in as_list(raw_data(response_output))]

    @classmethod
    def encode_input(
        cls, name: str, payload: list[str], use_bytes: bool = True, **kwargs: Any
    ) -> RequestInput:
        """Texts as an input."""
        return RequestInput(**dict(cls.encode_output(name, payload, use_bytes)))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[str]:
        """An input as texts."""
        return [decode_str(each) for each in as_list(raw_data(request_input))]


@register_request_codec
class StringRequestCodec(SingleInputRequestCodec):
    """A request is a list of texts."""

    InputCodec = StringCodec
    ContentType = StringCodec.ContentType
    TypeHint = list[str]
