"""ModelStreamInfer: many requests and their responses on one bidirectional stream.

Responses of models that answer once leave in the order of their requests; those of decoupled models as they come. An
error is a message and never ends the stream, unless the client has asked for that.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest
from kserve_v2.repository.model import LoadedModel
from kserve_v2.rpc.codec import EMPTY_FINAL_RESPONSE, OutputForms, decode_request, encode_response
from kserve_v2.rpc.status import Context, abort, unexpected

FINAL_RESPONSE = "triton_final_response"
"""Response parameter: whether more responses to the same request follow."""

ERRORS_END_STREAM = "triton_grpc_error"
"""Metadata key: with the value `true`, a failed execution ends the stream with its status."""

# Requests of one stream that may be under way, and messages that may wait to be sent: beyond that the stream
# is not read, or the models are not asked for more, until the client catches up.
_MAX_REQUESTS = 1024
_MAX_MESSAGES = 16


class InferStream:
    """One stream. Lives as long as the RPC."""

    def __init__(self, service: InferenceService, context: Context) -> None:
        self._service = service
        self._context = context
        self._messages: asyncio.Queue[pb.ModelStreamInferResponse | ServingError | None] = asyncio.Queue(
            _MAX_MESSAGES
        )
        self._slots = asyncio.Semaphore(_MAX_REQUESTS)
        metadata = dict(context.invocation_metadata() or ())
        self._errors_end_stream = metadata.get(ERRORS_END_STREAM) == "true"

    async def responses(
        self, requests: AsyncIterator[pb.ModelInferRequest]
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """The messages to send, until the client has sent its last request and all are answered."""
        reader = asyncio.create_task(self._read(requests))
        try:
            while (message := await self._messages.get()) is not None:
                if isinstance(message, ServingError):
                    await abort(self._context, message)
                else:
                    yield message
        finally:
            # Whatever is still under way is given up: the client has left, or an error ended the stream.
            reader.cancel()

    async def _read(self, requests: AsyncIterator[pb.ModelInferRequest]) -> None:
        end: ServingError | None = None
        try:
            await self._read_all(requests)
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave the client waiting
            end = unexpected(error)
        await self._messages.put(end)

    async def _read_all(self, requests: AsyncIterator[pb.ModelInferRequest]) -> None:
        previous: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            async for message in requests:
                await self._slots.acquire()
                try:
                    model = self._service.acquire(message.model_name, message.model_version)
                    request, forms = decode_request(message, self._service.shared_memory)
                    wants_final = _wants_empty_final(message)
                except ServingError as error:
                    task = group.create_task(self._refuse(message, error, previous))
                else:
                    if model.decoupled:
                        group.create_task(self._stream(model, request, forms, message, wants_final))
                        continue
                    task = group.create_task(self._infer(model, request, forms, message, previous))
                previous = task

    async def _refuse(
        self, message: pb.ModelInferRequest, error: ServingError, previous: asyncio.Task[None] | None
    ) -> None:
        """Answer a request that never reached a model: only its id is repeated."""
        await _turn(previous)
        answer = pb.ModelStreamInferResponse(error_message=error.message)
        answer.infer_response.id = message.id
        await self._end(answer)

    async def _infer(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        message: pb.ModelInferRequest,
        previous: asyncio.Task[None] | None,
    ) -> None:
        """Answer a request once. It is executed at once, but its answer waits for its turn."""
        try:
            key = model.check(request)
        except ServingError as error:
            await self._refuse(message, error, previous)
            return
        try:
            response = await model.execute(request, key)
            answer = pb.ModelStreamInferResponse(
                infer_response=encode_response(response, forms, model.labels, batched=model.batched)
            )
            answer.infer_response.parameters[FINAL_RESPONSE].bool_param = True
        except Exception as error:  # noqa: BLE001 - one request's failure is a message
            await _turn(previous)
            await self._fail(message, error)
            return
        await _turn(previous)
        await self._end(answer)

    async def _stream(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        message: pb.ModelInferRequest,
        wants_final: bool,
    ) -> None:
        """Answer a request as often as its model does."""
        try:
            key = model.check(request)
        except ServingError as error:
            await self._refuse(message, error, None)
            return
        try:
            async with aclosing(model.stream(request, key)) as responses:
                async for response in responses:
                    encoded = encode_response(response, forms, model.labels, batched=model.batched)
                    encoded.parameters[FINAL_RESPONSE].bool_param = False
                    await self._messages.put(pb.ModelStreamInferResponse(infer_response=encoded))
        except Exception as error:  # noqa: BLE001 - one request's failure is a message
            await self._fail(message, error)
            return
        await self._end(_final_response(message) if wants_final else None)

    async def _fail(self, message: pb.ModelInferRequest, error: Exception) -> None:
        known = error if isinstance(error, ServingError) else unexpected(error)
        if self._errors_end_stream:
            await self._messages.put(known)
            return
        answer = _final_response(message)
        answer.error_message = known.message
        await self._end(answer)

    async def _end(self, answer: pb.ModelStreamInferResponse | None) -> None:
        """The last message of a request, if there is one, and its place for another request."""
        if answer is not None:
            await self._messages.put(answer)
        self._slots.release()


async def _turn(previous: asyncio.Task[None] | None) -> None:
    """Wait until the request before has been answered."""
    if previous is not None:
        await asyncio.wait((previous,))


def _final_response(message: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
    """A response without outputs that says that no more follow."""
    answer = pb.ModelStreamInferResponse()
    answer.infer_response.model_name = message.model_name
    answer.infer_response.model_version = message.model_version
    answer.infer_response.id = message.id
    answer.infer_response.parameters[FINAL_RESPONSE].bool_param = True
    return answer


def _wants_empty_final(message: pb.ModelInferRequest) -> bool:
    return EMPTY_FINAL_RESPONSE in message.parameters and message.parameters[EMPTY_FINAL_RESPONSE].bool_param
