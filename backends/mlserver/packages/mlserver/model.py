"""The class that models are made of."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from .codecs.base import InputCodecLike, RequestCodecLike
from .codecs.errors import CodecNotFound
from .codecs.utils import (
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    has_decoded,
)
from .settings import ModelSettings
from .types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)


def _by_name(tensors: Iterable[MetadataTensor] | None) -> dict[str, MetadataTensor]:
    return {tensor.name: tensor for tensor in tensors or ()}


class MLModel:
    """A model: a subclass says how it is loaded and what it predicts."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._inputs_index = _by_name(settings.inputs)
        self._outputs_index = _by_name(settings.outputs)
        self.ready = False

    async def load(self) -> bool:
        """Get ready. What is returned says whether it is."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request."""
        raise NotImplementedError("predict() method not implemented")

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a request as often as is needed; once, unless a subclass does something else."""
        async for payload in payloads:
            yield await self.predict(payload)
            return

    async def unload(self) -> bool:
        """Give back what is held. What is returned says whether it was."""
        return True

    @property
    def name(self) -> str:
        """Its name."""
        return self._settings.name

    @property
    def version(self) -> str | None:
        """Its version, if it has one."""
        return self._settings.version

    @property
    def settings(self) -> ModelSettings:
        """Its settings."""
        return self._settings

    @property
    def inputs(self) -> list[MetadataTensor] | None:
        """What its metadata says of its inputs. May be set."""
        return self._settings.inputs

    @inputs.setter
    def inputs(self, value: list[MetadataTensor]) -> None:
        self._settings.inputs = value
        self._inputs_index = _by_name(value)

    @property
    def outputs(self) -> list[MetadataTensor] | None:
        """What its metadata says of its outputs. May be set."""
        return self._settings.outputs

    @outputs.setter
    def outputs(self, value: list[MetadataTensor]) -> None:
        self._settings.outputs = value
        self._outputs_index = _by_name(value)

    def decode(self, request_input: RequestInput, default_codec: InputCodecLike | None = None) -> Any:
        """An input as its content type says, or by the codec given, or as it came."""
        decode_request_input(request_input, self._inputs_index)
        if has_decoded(request_input):
            return get_decoded(request_input)
        return default_codec.decode_input(request_input) if default_codec else request_input.data

    def decode_request(
        self, inference_request: InferenceRequest, default_codec: RequestCodecLike | None = None
    ) -> Any:
        """A request as its content type says, or by the codec given, or as it came."""
        decode_inference_request(inference_request, self._settings, self._inputs_index)
        if has_decoded(inference_request):
            return get_decoded(inference_request)
        return default_codec.decode_request(inference_request) if default_codec else inference_request

    def encode_response(
        self, payload: Any, default_codec: RequestCodecLike | None = None
    ) -> InferenceResponse:
        """What `payload` is as a response: by its type, or by the codec given."""
        encoded = encode_inference_response(payload, self._settings)
        if encoded is not None:
            return encoded
        if default_codec is None:
            raise CodecNotFound(payload_type=str(type(payload)), is_request=True)
        return default_codec.encode_response(self.name, payload, self.version)

    def encode(
        self, payload: Any, request_output: RequestOutput, default_codec: InputCodecLike | None = None
    ) -> ResponseOutput:
        """What `payload` is as an output: by the content type asked for, by its type, or by the codec given."""
        encoded = encode_response_output(payload, request_output, self._outputs_index)
        if encoded is not None:
            return encoded
        if default_codec is None:
            raise CodecNotFound(name=request_output.name)
        return default_codec.encode_output(request_output.name, payload)

    async def metadata(self) -> MetadataModelResponse:
        """What is said of it to clients."""
        said = MetadataModelResponse(
            name=self.name,
            platform=self._settings.platform,
            versions=self._settings.versions,
            inputs=self._settings.inputs,
            outputs=self._settings.outputs,
        )
        if self._settings.parameters is not None:
            said.parameters = Parameters(content_type=self._settings.parameters.content_type)
        return said
