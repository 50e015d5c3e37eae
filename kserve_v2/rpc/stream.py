"""ModelStreamInfer: many requests and their responses on one bidirectional stream.

Responses of models that answer once leave in the order of their requests; those of decoupled models as they come. An
error is a message and never ends the stream, unless the client has asked for that.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest
from kserve_v2.repository.model import LoadedModel
from kserve_v2.rpc.calls import Context
from kserve_v2.rpc.codec import EMPTY_FINAL_RESPONSE, OutputForms, decode_request, encode_response
from kserve_v2.rpc.status import unexpected
from kserve_v2.rpc.traces import begin_trace, text_metadata
from kserve_v2.tracing.trace import Trace

FINAL_RESPONSE = "triton_final_response"
"""Response parameter: whether more responses to the same request follow."""

ERRORS_END_STREAM = "triton_grpc_error"
"""Metadata key: with the value `true`, a failed execution ends the stream with its status."""

# Requests of one stream that may be under way, and messages that may wait to be sent: beyond that the stream
# is not read, or the models are not asked for more, until the client catches up.
_MAX_REQUESTS = 1024
_MAX_MESSAGES = 16


@dataclass(slots=True)
class _Asked:
    """One request of the stream, and its trace if there is one."""

    message: pb.ModelInferRequest
    trace: Trace | None

    def note(self, error: ServingError) -> None:
        """Note how the request failed."""
        if self.trace is not None:
            self.trace.error = error.message


class InferStream:
    """One stream. Lives as long as the RPC."""

    def __init__(self, service: InferenceService, context: Context) -> None:
        self._service = service
        self._messages: asyncio.Queue[pb.ModelStreamInferResponse | ServingError | None] = asyncio.Queue(
            _MAX_MESSAGES
        )
        self._slots = asyncio.Semaphore(_MAX_REQUESTS)
        self._metadata = text_metadata(context)
        self._errors_end_stream = self._metadata.get(ERRORS_END_STREAM) == "true"

    async def responses(
        self, requests: AsyncIterator[pb.ModelInferRequest]
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """The messages to send, until the client has sent its last request and all are answered."""
        reader = asyncio.create_task(self._read(requests))
        try:
            while (message := await self._messages.get()) is not None:
                if isinstance(message, ServingError):
                    raise message
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
                tracer = self._service.tracer
                asked = _Asked(message, begin_trace(tracer, message, self._metadata) if tracer.on else None)
                try:
                    model = self._service.acquire(message.model_name, message.model_version)
                    request, forms = decode_request(message, self._service.shared_memory)
                    wants_final = _wants_empty_final(message)
                except ServingError as error:
                    previous = self._start(group, asked, self._refuse(asked, error, previous))
                    continue
                if asked.trace is not None:
                    model.begin_trace(request, asked.trace)
                if model.decoupled:
                    self._start(group, asked, self._stream(model, request, forms, asked, wants_final))
                else:
                    answering = self._infer(model, request, forms, asked, previous)
                    previous = self._start(group, asked, answering)

    def _start(
        self, group: asyncio.TaskGroup, asked: _Asked, answering: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = group.create_task(answering)
        if (trace := asked.trace) is not None:
            task.add_done_callback(lambda _: self._service.tracer.finish(trace))
        return task

    async def _refuse(self, asked: _Asked, error: ServingError, previous: asyncio.Task[None] | None) -> None:
        """Answer a request that never reached a model: only its id is repeated."""
        await _turn(previous)
        answer = pb.ModelStreamInferResponse(error_message=error.message)
        answer.infer_response.id = asked.message.id
        asked.note(error)
        await self._end(answer, asked)

    async def _infer(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        asked: _Asked,
        previous: asyncio.Task[None] | None,
    ) -> None:
        """Answer a request once. It is executed at once, but its answer waits for its turn."""
        try:
            model.check(request)
        except ServingError as error:
            await self._refuse(asked, error, previous)
            return
        try:
            response = await model.infer(request)
            answer = pb.ModelStreamInferResponse(
                infer_response=encode_response(response, forms, model.labels, batched=model.batched)
            )
            answer.infer_response.parameters[FINAL_RESPONSE].bool_param = True
        except Exception as error:  # noqa: BLE001 - one request's failure is a message
            await _turn(previous)
            await self._fail(asked, error)
            return
        await _turn(previous)
        await self._end(answer, asked)

    async def _stream(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        asked: _Asked,
        wants_final: bool,
    ) -> None:
        """Answer a request as often as its model does."""
        try:
            model.check(request)
        except ServingError as error:
            await self._refuse(asked, error, None)
            return
        try:
            async with aclosing(model.stream(request)) as responses:
                async for response in responses:
                    encoded = encode_response(response, forms, model.labels, batched=model.batched)
                    encoded.parameters[FINAL_RESPONSE].bool_param = False
                    await self._send(pb.ModelStreamInferResponse(infer_response=encoded), asked)
        except Exception as error:  # noqa: BLE001 - one request's failure is a message
            await self._fail(asked, error)
            return
        await self._end(_final_response(asked.message) if wants_final else None, asked)

    async def _fail(self, asked: _Asked, error: Exception) -> None:
        known = error if isinstance(error, ServingError) else unexpected(error)
        asked.note(known)
        if self._errors_end_stream:
            await self._messages.put(known)
            return
        answer = _final_response(asked.message)
        answer.error_message = known.message
        await self._end(answer, asked)

    async def _end(self, answer: pb.ModelStreamInferResponse | None, asked: _Asked) -> None:
        """The last message of a request, if there is one, and its place for another request."""
        if answer is not None:
            await self._send(answer, asked)
        self._slots.release()

    async def _send(self, answer: pb.ModelStreamInferResponse, asked: _Asked) -> None:
        if asked.trace is None:
            await self._messages.put(answer)
            return
        asked.trace.stamp("GRPC_SEND_START")
        await self._messages.put(answer)
        asked.trace.stamp("GRPC_SEND_END")


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
