"""What codecs are, and which there are."""

import types
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

from ..logging import logger
from ..types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


class InputCodec:
    """One input or output. All methods are of the class."""

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = type(None)
    OtherHints: ClassVar[tuple[Any, ...]] = ()
    """Hints that mean the same, which MLServer does not know."""

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is for such values."""
        return False

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """The output that a value is."""
        raise NotImplementedError

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """The value that an output is."""
        raise NotImplementedError

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """The input that a value is."""
        raise NotImplementedError

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """The value that an input is."""
        raise NotImplementedError

    @classmethod
    def encode(cls, name: str, payload: Any) -> ResponseOutput:
        """An old name of `encode_output`."""
        return cls.encode_output(name, payload)

    @classmethod
    def decode(cls, request_input: RequestInput) -> Any:
        """An old name of `decode_input`."""
        return cls.decode_input(request_input)


class RequestCodec:
    """A whole request or response. All methods are of the class."""

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = type(None)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it is for such values."""
        return False

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """The response that a value is."""
        raise NotImplementedError

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The value that a response is."""
        raise NotImplementedError

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """The request that a value is."""
        raise NotImplementedError

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The value that a request is."""
        raise NotImplementedError

    @classmethod
    def encode(cls, model_name: str, payload: Any, model_version: str | None = None) -> InferenceResponse:
        """An old name of `encode_response`."""
        return cls.encode_response(model_name, payload, model_version)

    @classmethod
    def decode(cls, request: InferenceRequest) -> Any:
        """An old name of `decode_request`."""
        return cls.decode_request(request)


InputCodecLike = type[InputCodec] | InputCodec
RequestCodecLike = type[RequestCodec] | RequestCodec

Codec = TypeVar("Codec", bound=Any)

_inputs: dict[str, InputCodecLike] = {}
_requests: dict[str, RequestCodecLike] = {}


def register_input_codec(CodecKlass: Codec) -> Codec:
    """Have a codec found by its content type, and by values and type hints. Decorates its class."""
    if CodecKlass.ContentType is not None:
        _inputs[CodecKlass.ContentType] = CodecKlass
    return CodecKlass


def register_request_codec(CodecKlass: Codec) -> Codec:
    """The same, for a codec of requests."""
    if CodecKlass.ContentType is not None:
        _requests[CodecKlass.ContentType] = CodecKlass
    return CodecKlass


def find_input_codec(
    content_type: str | None = None, payload: Any = None, type_hint: Any = None
) -> InputCodecLike | None:
    """The codec of a content type, or for a value, or for a type hint: whichever is given first."""
    if content_type:
        return _inputs.get(content_type)
    if payload is not None:
        return find_input_codec_by_payload(payload)
    return find_input_codec_by_type_hint(type_hint) if type_hint else None


def find_request_codec(
    content_type: str | None = None, payload: Any = None, type_hint: Any = None
) -> RequestCodecLike | None:
    """The same, of codecs of requests."""
    if content_type:
        return _requests.get(content_type)
    if payload is not None:
        return find_request_codec_by_payload(payload)
    return find_request_codec_by_type_hint(type_hint) if type_hint else None


def find_input_codec_by_payload(payload: Any) -> InputCodecLike | None:
    """The first codec that is for such a value."""
    return _first(each for each in _inputs.values() if each.can_encode(payload))


def find_request_codec_by_payload(payload: Any) -> RequestCodecLike | None:
    """The first codec that is for such a value."""
    return _first(each for each in _requests.values() if each.can_encode(payload))


def find_input_codec_by_type_hint(type_hint: Any) -> InputCodecLike | None:
    """The first codec with that type hint."""
    hint = plain_hint(type_hint)
    return _first(
        each
        for each in _inputs.values()
        if hint in (plain_hint(each.TypeHint), *getattr(each, "OtherHints", ()))
    )


def find_request_codec_by_type_hint(type_hint: Any) -> RequestCodecLike | None:
    """The first codec with that type hint."""
    hint = plain_hint(type_hint)
    return _first(each for each in _requests.values() if plain_hint(each.TypeHint) == hint)


def plain_hint(hint: Any) -> Any:
    """A type hint without `Optional`, however it is written: `List[str]` is `list[str]`."""
    if get_origin(hint) in (Union, types.UnionType):
        others = [each for each in get_args(hint) if each is not type(None)]
        return plain_hint(others[0]) if len(others) == 1 else hint
    if get_origin(hint) is list and get_args(hint):
        return list[plain_hint(get_args(hint)[0])]  # type: ignore[misc]
    return hint


def _first(codecs: Iterable[Codec]) -> Codec | None:
    found = list(codecs)
    if len(found) > 1:
        names = [each.ContentType for each in found]
        logger.warning("%s could each be the codec of one value: the first is taken", ", ".join(names))
    return found[0] if found else None
