"""What decides which codec is used, and where what was decoded is kept."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ..settings import ModelSettings
from ..types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from .base import (
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    find_input_codec,
    find_input_codec_by_payload,
    find_request_codec,
    find_request_codec_by_payload,
)
from .errors import CodecError

DefaultOutputPrefix = "output-"
DefaultInputPrefix = "input-"
DecodedParameterName = "_decoded_payload"

Codec = InputCodecLike | RequestCodecLike
InputOrOutput = RequestInput | ResponseOutput
Parametrised = InferenceRequest | RequestInput | RequestOutput | ResponseOutput | InferenceResponse


def raw_data(tensor: InputOrOutput) -> Any:
    """The elements as they are, also of a tensor that was made without being checked."""
    return getattr(tensor.data, "root", tensor.data)


def inject_batch_dimension(shape: list[int]) -> list[int]:
    """The shape of a tensor with as many rows: of a flat one, rows of one element each."""
    return shape if len(shape) > 1 else [*shape, 1]


def _content_type(said: Parametrised, metadata: MetadataTensor | ModelSettings | None = None) -> str | None:
    """What the request says goes before what the model's settings say."""
    for each in (said, metadata):
        if each is not None and each.parameters is not None and each.parameters.content_type:
            return str(each.parameters.content_type)
    return None


def _keep(said: Parametrised, decoded: Any) -> None:
    if said.parameters is None:
        said.parameters = Parameters()
    setattr(said.parameters, DecodedParameterName, decoded)


def has_decoded(parametrised_obj: Parametrised) -> bool:
    """Whether something was decoded already."""
    return parametrised_obj.parameters is not None and hasattr(
        parametrised_obj.parameters, DecodedParameterName
    )


def get_decoded(parametrised_obj: Parametrised) -> Any:
    """What it was decoded to; None if it was not."""
    return getattr(parametrised_obj.parameters, DecodedParameterName, None)


def get_decoded_or_raw(parametrised_obj: Parametrised) -> Any:
    """What it was decoded to; otherwise the data of a tensor, and a whole request as it is."""
    if has_decoded(parametrised_obj):
        return get_decoded(parametrised_obj)
    if isinstance(parametrised_obj, RequestInput | ResponseOutput):
        return parametrised_obj.data
    return parametrised_obj


def decode_request_input(
    request_input: RequestInput, metadata_inputs: Mapping[str, MetadataTensor] | None = None
) -> Any:
    """Decode an input as its content type says; None if nothing says how."""
    content_type = _content_type(request_input, (metadata_inputs or {}).get(request_input.name))
    codec = find_input_codec(content_type) if content_type else None
    if codec is None:
        return None
    decoded = codec.decode_input(request_input)
    _keep(request_input, decoded)
    return decoded


def decode_inference_request(
    inference_request: InferenceRequest,
    model_settings: ModelSettings | None = None,
    metadata_inputs: Mapping[str, MetadataTensor] | None = None,
) -> Any:
    """Decode the inputs of a request, and then the whole; the request itself if nothing says how."""
    for request_input in inference_request.inputs:
        decode_request_input(request_input, metadata_inputs)
    content_type = _content_type(inference_request, model_settings)
    codec = find_request_codec(content_type) if content_type else None
    if codec is None:
        return inference_request
    decoded = codec.decode_request(inference_request)
    _keep(inference_request, decoded)
    return decoded


def encode_response_output(
    payload: Any,
    request_output: RequestOutput,
    metadata_outputs: Mapping[str, MetadataTensor] | None = None,
) -> ResponseOutput | None:
    """A value as an output: as the content type says, or by the codec for such values; None if there is none."""
    content_type = _content_type(request_output, (metadata_outputs or {}).get(request_output.name))
    codec = find_input_codec(content_type) if content_type else find_input_codec_by_payload(payload)
    return None if codec is None else codec.encode_output(name=request_output.name, payload=payload)


def encode_inference_response(payload: Any, model_settings: ModelSettings) -> InferenceResponse | None:
    """A value as a response, by the codec for such values; None if there is none."""
    codec = find_request_codec_by_payload(payload)
    if codec is None:
        return None
    return codec.encode_response(model_settings.name, payload, model_settings.version)


class SingleInputRequestCodec(RequestCodec):
    """Requests that are one input, and responses that are one output."""

    InputCodec: ClassVar[InputCodecLike | None] = None

    @classmethod
    def _tensor_codec(cls) -> InputCodecLike:
        if cls.InputCodec is None:
            raise NotImplementedError(f"No input codec found for {cls} request codec")
        return cls.InputCodec

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether the codec of the tensor is for such values."""
        return cls.InputCodec is not None and cls.InputCodec.can_encode(payload)

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """The response whose only output is the value."""
        output = cls._tensor_codec().encode_output(f"{DefaultOutputPrefix}1", payload, **kwargs)
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            parameters=Parameters(content_type=cls.ContentType),
            outputs=[output],
        )

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """The request whose only input is the value."""
        made = cls._tensor_codec().encode_input(f"{DefaultInputPrefix}1", payload, **kwargs)
        return InferenceRequest(inputs=[made], parameters=Parameters(content_type=cls.ContentType))

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The only output's value. Raises CodecError if there are more."""
        return cls._only(response.outputs, "output", "decode_output")

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The only input's value. Raises CodecError if there are more."""
        return cls._only(request.inputs, "input", "decode_input")

    @classmethod
    def _only(cls, tensors: Any, kind: str, decode: str) -> Any:
        if len(tensors) != 1:
            raise CodecError(
                f"The '{cls.ContentType}' codec only supports a single {kind} tensor ({len(tensors)} were received)"
            )
        (tensor,) = tensors
        if not has_decoded(tensor) and cls.InputCodec is not None:
            _keep(tensor, getattr(cls.InputCodec, decode)(tensor))
        return get_decoded_or_raw(tensor)
