"""Lists of times, which are texts of ISO 8601 on the wire."""

from datetime import datetime
from typing import Any

from ..types import Parameters, RequestInput, ResponseOutput
from .base import InputCodec, register_input_codec
from .lists import as_list, is_list_of
from .utils import raw_data


def _text(elem: str | datetime) -> str:
    return elem if isinstance(elem, str) else elem.isoformat()


def _time(elem: bytes | str) -> datetime:
    return datetime.fromisoformat(elem if isinstance(elem, str) else elem.decode("ascii"))


@register_input_codec
class DatetimeCodec(InputCodec):
    """An input or output is a list of times."""

    ContentType = "datetime"
    TypeHint = list[str | datetime]
    OtherHints = (list[datetime],)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is a list of times."""
        return is_list_of(payload, datetime)

    @classmethod
    def encode_output(
        cls, name: str, payload: list[str | datetime], use_bytes: bool = True, **kwargs: Any
    ) -> ResponseOutput:
        """Times, or their texts, as an output. `use_bytes`: its elements are to be bytes, as gRPC needs them."""
        texts = [_text(each) for each in payload]
        return ResponseOutput(
            name=name,
            datatype="BYTES",  # type: ignore[arg-type]
            shape=[len(texts), 1],
            data=[each.encode("ascii") for each in texts] if use_bytes else texts,  # type: ignore[arg-type]
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[datetime]:
        """An output as times."""
        return [_time(each) for each in as_list(raw_data(response_output))]

    @classmethod
    def encode_input(
        cls, name: str, payload: list[str | datetime], use_bytes: bool = True, **kwargs: Any
    ) -> RequestInput:
        """Times as an input."""
        return RequestInput(**dict(cls.encode_output(name, payload, use_bytes)))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[datetime]:
        """An input as times."""
        return [_time(each) for each in as_list(raw_data(request_input))]
