"""`decode_args`: a `predict` that takes values, by the names of inputs, and gives values."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, get_args, get_origin, get_type_hints

from ..types import InferenceRequest, InferenceResponse, ResponseOutput
from .base import InputCodec, RequestCodec, find_input_codec, find_request_codec, plain_hint
from .errors import CodecNotFound, InputsNotFound, OutputNotFound
from .utils import Codec


def _is(codec: Codec, kind: type[Any]) -> bool:
    return isinstance(codec, kind) or (isinstance(codec, type) and issubclass(codec, kind))


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, tuple):
        return list(value)
    return list(get_args(value)) if get_origin(value) is tuple else [value]


class SignatureCodec(RequestCodec):
    """The codec of a function, by its annotations."""

    def __init__(self, predict: Callable[..., Any]) -> None:
        hints = get_type_hints(predict)
        self._output_hints = [plain_hint(each) for each in _several(hints.pop("return", None))]
        self._inputs = {name: _codec_for(plain_hint(hint), name) for name, hint in hints.items()}
        self._outputs = [_codec_for(hint, None) for hint in self._output_hints]

    def decode_request(self, request: InferenceRequest) -> dict[str, Any]:  # type: ignore[override]
        """The function's arguments. Raises InputsNotFound for inputs that it does not take."""
        arguments: dict[str, Any] = {}
        others = []
        for each in request.inputs:
            codec = self._inputs.get(each.name)
            if codec is None:
                others.append(each)
            elif _is(codec, InputCodec):
                arguments[each.name] = codec.decode_input(each)  # type: ignore[union-attr]
            else:
                raise CodecNotFound(name=each.name, is_input=True)
        if others:
            whole = next(
                ((name, each) for name, each in self._inputs.items() if _is(each, RequestCodec)), None
            )
            if whole is None:
                raise InputsNotFound(others, self._inputs)
            name, codec = whole
            arguments[name] = codec.decode_request(InferenceRequest(inputs=others))  # type: ignore[union-attr]
        return arguments

    def encode_response(  # type: ignore[override]
        self, model_name: str, payload: Any, model_version: str | None = None
    ) -> InferenceResponse:
        """What the function has given. Raises OutputNotFound for what its annotations do not say."""
        outputs: list[ResponseOutput] = []
        for index, each in enumerate(_several(payload)):
            outputs += self._encoded(index, each)
        return InferenceResponse(model_name=model_name, model_version=model_version, outputs=outputs)

    def _encoded(self, index: int, payload: Any) -> list[ResponseOutput]:
        codec = self._outputs[index] if index < len(self._outputs) else None
        if codec is None or not codec.can_encode(payload):
            raise OutputNotFound(index, type(payload), self._output_hints)
        if _is(codec, InputCodec):
            return [codec.encode_output(name=f"output-{index}", payload=payload)]  # type: ignore[union-attr]
        response = codec.encode_response(model_name="", payload=payload)  # type: ignore[union-attr]
        return response.outputs


def _codec_for(hint: Any, name: str | None) -> Codec:
    codec = find_input_codec(type_hint=hint) or find_request_codec(type_hint=hint)
    if codec is None:
        raise CodecNotFound(name=name, payload_type=str(hint), is_input=name is not None)
    return codec


def decode_args(
    predict: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[[Any, InferenceRequest], Coroutine[Any, Any, InferenceResponse]]:
    """Have a method called with an argument for each input, by name, decoded as its annotation says."""
    codec = SignatureCodec(predict)

    @wraps(predict)
    async def decoded(self: Any, request: InferenceRequest) -> InferenceResponse:
        given = await predict(self, **codec.decode_request(request))
        return codec.encode_response(model_name=self.name, payload=given, model_version=self.version)

    return decoded
