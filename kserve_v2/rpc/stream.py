"""ModelStreamInfer: many requests and their responses on one bidirectional stream.

Responses of models that answer once leave in the order of their requests; those of decoupled models as they come. An
error is a message and never ends the stream, unless the client has asked for that.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.acceptance import GIVEN, Carrying
from kserve_v2.errors import NotLoadedError, ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.inflight import COUNTED_BYTES, Share
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Context, Parts, Serialized
from kserve_v2.rpc.codec import EMPTY_FINAL_RESPONSE, WHOLE, OutputForms
from kserve_v2.rpc.infer import ModelInfer
from kserve_v2.rpc.large import receive_large
from kserve_v2.rpc.received import Received
from kserve_v2.rpc.status import known
from kserve_v2.rpc.traces import begin_trace, text_metadata
from kserve_v2.scheduling.failures import unless_cancelled
from kserve_v2.scheduling.replies import OneOutcome, Outcome, stream
from kserve_v2.scheduling.slices import Slices, Work
from kserve_v2.scheduling.target import Ticket
from kserve_v2.tracing.trace import Trace

FINAL_RESPONSE = "triton_final_response"
"""Response parameter: whether more responses to the same request follow."""

ERRORS_END_STREAM = "triton_grpc_error"
"""Metadata key: with the value `true`, a failed execution ends the stream with its status."""

# The most requests of one stream in flight, and the most responses of decoupled models that wait to be sent. Beyond the
# first the stream is not read, beyond the second the models pause, until the client catches up.
_MAX_REQUESTS = 1024
_MAX_RESPONSES = 16

# One stream may use this share of the bytes that all requests in flight may take: limit // _SHARE, or the minimum.
_SHARE = 8
_MIN_HELD_BYTES = 1024 * 1024

_INFER_RESPONSE = pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER


def _final_parameter(final: bool) -> bytes:
    message = pb.ModelInferResponse()
    message.parameters[FINAL_RESPONSE].bool_param = final
    return message.SerializeToString()


# Appended to a serialized response: whether it is the last one.
_FINAL, _NOT_FINAL = _final_parameter(True), _final_parameter(False)


class ModelStreamInfer:
    """Answers streams. See `calls.Streaming`."""

    def __init__(self, service: InferenceService) -> None:
        self.service = service
        self.infer = ModelInfer(service)

    def answer(self, messages: AsyncIterator[Serialized], context: Context) -> AsyncGenerator[Parts, None]:
        """The messages to send, until the client has sent its last request and all are answered."""
        return _Stream(self, context).responses(messages)


class _Turn(OneOutcome):
    """A request, or the end of the stream, whose answer waits for those of the requests before it."""

    __slots__ = (
        "_stream", "answer", "answer_bytes", "answered", "forms", "model", "request", "request_bytes", "trace",
        "writing",
    )  # fmt: skip

    # Set for a request that has one answer: what it is, and how that is written.
    model: LoadedModel
    request: InferRequest
    forms: OutputForms

    def __init__(self, stream: "_Stream", trace: Trace | None = None) -> None:
        self._stream = stream
        self.ticket = None
        self.trace = trace
        # Bytes of the request and of the answer, where they are counted: small ones are not.
        self.request_bytes = self.answer_bytes = 0
        self.answered = False
        # It is no ticket: whoever answers says that this was all when the answer is still being written.
        self.writing: Work[Parts] | None = None
        # None for the end of the stream.
        self.answer: Parts | ServingError | None = None

    def take(self, outcome: Outcome) -> None:
        """The request's outcome is there."""
        self._stream.take(outcome, self)

    def give_up(self) -> None:
        """See `OneOutcome`."""
        super().give_up()
        if self.writing is not None:
            self.writing.give_up()


class _Stream:
    """One stream. Lives as long as the RPC."""

    def __init__(self, rpc: ModelStreamInfer, context: Context) -> None:
        self._rpc = rpc
        self._service = rpc.service
        self._tracer = rpc.service.tracer
        self._context = context
        self._metadata = text_metadata(context)
        self._errors_end_stream = self._metadata.get(ERRORS_END_STREAM) == "true"
        # What is to be sent (None: the end of the stream), and what to call when it is sent.
        self._ready: deque[tuple[Parts | ServingError | None, Callable[[], None]]] = deque()
        self._wake = asyncio.Event()
        self._turns: deque[_Turn] = deque()
        self._given_up = False
        self._under_way = 0
        # Bytes of requests in flight and of answers that wait, without small ones; and the size of the largest answer.
        self._held_bytes = 0
        self._largest_answer = 0
        self._inflight = rpc.service.inflight
        self._max_held_bytes = max(self._inflight.limit // _SHARE, _MIN_HELD_BYTES)
        self._one_has_ended = asyncio.Event()
        self._room = asyncio.Semaphore(_MAX_RESPONSES)

    # --- what is sent ---------------------------------------------------------------------------------------------

    async def responses(self, messages: AsyncIterator[Serialized]) -> AsyncGenerator[Parts, None]:
        """The messages to send, in order, until all requests are answered."""
        reader = asyncio.create_task(self._read(messages))
        try:
            while True:
                while self._ready:
                    message = self._next()
                    if message is None:
                        return
                    yield message
                    # An idle stream must not keep its last answer alive.
                    del message
                self._wake.clear()
                await self._wake.wait()
        finally:
            # The client has left, or an error ended the stream: give up what is still in flight.
            reader.cancel()
            self._give_up_all()

    def _next(self) -> Parts | None:
        """What is to be sent now. Raises the error that ends the stream."""
        message, sent = self._ready.popleft()
        sent()
        if not isinstance(message, ServingError):
            return message
        try:
            raise message
        finally:
            # The traceback would keep the error alive, and the whole stream with it.
            del message

    def _give_up_all(self) -> None:
        """Nobody waits for an answer any more. Nothing stays that keeps itself alive, and tensors."""
        for turn in self._turns:
            self._inflight.give(turn.answer_bytes)
            turn.give_up()
            self._finish(turn.trace)
        self._turns.clear()
        self._given_up = True
        while self._ready:
            self._ready.popleft()[1]()

    def _send(
        self, message: Parts | ServingError | None, trace: Trace | None, sent: Callable[[], None]
    ) -> None:
        if self._given_up:
            sent()
            return
        if trace is not None:
            trace.stamp("GRPC_SEND_START")
        self._ready.append((message, sent))
        self._wake.set()
        if trace is not None:
            trace.stamp("GRPC_SEND_END")

    def _end(self, turn: _Turn) -> None:
        """Another request may take the place of one."""
        self._held_bytes -= turn.request_bytes + turn.answer_bytes
        self._inflight.give(turn.answer_bytes)
        self._under_way -= 1
        self._one_has_ended.set()

    def _finish(self, trace: Trace | None) -> None:
        if trace is not None:
            self._tracer.finish(trace)

    # --- requests -------------------------------------------------------------------------------------------------

    async def _read(self, messages: AsyncIterator[Serialized]) -> None:
        end: ServingError | None
        try:
            end = await self._read_all(messages)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - nothing must leave the client waiting
            end = known(unless_cancelled(error))
        # The end is not counted as in flight; its release makes the count wrong, but nothing is read any more.
        last = _Turn(self)
        self._turns.append(last)
        self._settle(last, end)

    async def _read_all(self, messages: AsyncIterator[Serialized]) -> ServingError | None:
        """Begin all requests; those to decoupled models are over when this returns. Returns the error of a message that
        is no request: none is read after it.
        """
        async with asyncio.TaskGroup() as group:
            async for data in messages:
                if self._full():
                    await self._await_place(len(data))
                self._under_way += 1
                try:
                    if not self._begin_like_another(data):
                        await self._begin(data, group)
                except ServingError as error:
                    return error
                # An idle stream must not keep its last request alive.
                del data
        return None

    async def _await_place(self, size: int) -> None:
        """Wait until a request, whose message of that size is there, may be under way."""
        self._inflight.hold(size)
        try:
            while self._full():
                self._one_has_ended.clear()
                await self._one_has_ended.wait()
        finally:
            self._inflight.give(size)

    def _full(self) -> bool:
        """Whether the next request has to wait until one is over. Each that is under way may get a large answer if
        there has been one.
        """
        if self._under_way >= _MAX_REQUESTS:
            return True
        held = self._held_bytes + self._under_way * self._largest_answer
        return held > self._max_held_bytes and self._under_way > 0

    def _begin_like_another(self, data: Serialized) -> bool:
        """Begin a request that has the form of an earlier one. False: it has not, or is to be traced."""
        found = None if self._tracer.on else self._rpc.infer.recognised(data)
        if found is not None:
            self._infer(*found, WHOLE, None, len(data))
        return found is not None

    async def _begin(self, data: Serialized, group: asyncio.TaskGroup) -> None:
        """Begin any request, once it is read, and its model is loaded: those behind it may belong to the same sequence.
        Raises the error of a message that is none.
        """
        share = Share(self._inflight)
        received = receive_large(data, share.hold_if_room)
        if isinstance(received, Received):
            await self._begin_received(received, group)
            return
        share.hold(len(data))
        try:
            received = await self._service.slicer.finish(received)
        finally:
            share.give_back()
        # It was there before the slices began.
        with Carrying(GIVEN):
            await self._begin_received(received, group)

    async def _begin_received(self, received: Received, group: asyncio.TaskGroup) -> None:
        message = received.message
        trace = begin_trace(self._tracer, message.model_name, self._metadata) if self._tracer.on else None
        try:
            await self._service.loaded(lambda: self._ask(received, trace, group), len(received.data))
        except (ServingError, asyncio.CancelledError) as error:
            self._refuse(message.id, known(unless_cancelled(error)), trace, in_order=True)

    def _ask(self, received: Received, trace: Trace | None, group: asyncio.TaskGroup) -> None:
        """Begin a request. With a NotLoadedError, nothing has happened."""
        message, size = received.message, len(received.data)
        model: LoadedModel | None = None
        try:
            # From here to the scheduler nothing awaits, so the model cannot be unloaded in between. (A task begins in
            # the next turn of the loop, and an unload takes several turns.)
            model = self._service.acquire(message.model_name, message.model_version)
            model, request, forms = self._rpc.infer.checked(
                model, received, self._context, trace, stream=True
            )
        except NotLoadedError:
            raise
        except ServingError as error:
            self._refuse(message.id, error, trace, in_order=model is None or not model.decoupled)
            return
        except Exception:
            self._finish(trace)
            raise
        if model.decoupled:
            turn = _Turn(self, trace)
            self._hold_request(size, turn)
            task = group.create_task(self._stream(model, request, forms, turn, _wants_empty_final(message)))
            task.add_done_callback(lambda _: self._finish(trace))
        else:
            self._infer(model, request, forms, trace, size)

    def _hold_request(self, size: int, turn: _Turn) -> None:
        """A request is under way that came in a large message. Its tensors are counted where it waits for its model."""
        turn.request_bytes = size
        self._held_bytes += size

    def _refuse(self, request_id: str, error: ServingError, trace: Trace | None, *, in_order: bool) -> None:
        """Answer a request that never reached a model: only its id is repeated."""
        message = pb.ModelStreamInferResponse(error_message=error.message)
        message.infer_response.id = request_id
        answer = (message.SerializeToString(),)
        if trace is not None:
            trace.error = error.message
        turn = _Turn(self, trace)
        if in_order:
            self._turns.append(turn)
            self._settle(turn, answer)
        else:
            self._send(answer, trace, partial(self._end, turn))
            self._finish(trace)

    # --- models that answer once ----------------------------------------------------------------------------------

    def _infer(
        self, model: LoadedModel, request: InferRequest, forms: OutputForms, trace: Trace | None, size: int
    ) -> None:
        """Have a checked request, which came in a message of `size` bytes, executed at once; its answer waits for its
        turn.
        """
        turn = _Turn(self, trace)
        turn.model, turn.request, turn.forms = model, request, forms
        if size >= COUNTED_BYTES:
            self._hold_request(size, turn)
        self._turns.append(turn)
        answered: InferResponse | Ticket | Exception
        try:
            answered = model.submit(request, turn)
        except Exception as error:  # noqa: BLE001 - one request's failure is a message
            answered = error
        if isinstance(answered, InferResponse | Exception):
            self.take(answered, turn)
        else:
            turn.ticket = answered

    def take(self, outcome: InferResponse | Exception, turn: _Turn) -> None:
        """The outcome of a request that has one."""
        if isinstance(outcome, Exception):
            self._answered(turn, outcome)
        else:
            slices = self._written(outcome, turn.model, turn.forms, turn, final=True)
            turn.writing = self._service.slicer.begin_now(slices, partial(self._answered, turn))

    def _answered(self, turn: _Turn, answer: Parts | Exception) -> None:
        """The answer of a request has been encoded, or that, or the request, has failed."""
        turn.writing = None
        if isinstance(answer, Exception):
            answer = self._failure(turn.request, answer, turn.trace)
        # What waits for its turn must not keep the request's tensors alive.
        del turn.model, turn.request, turn.forms
        self._settle(turn, answer)

    def _settle(self, turn: _Turn, answer: Parts | ServingError | None) -> None:
        """Send the answer of a request as soon as all before it are answered."""
        turn.answered, turn.answer = True, answer
        while self._turns and self._turns[0].answered:
            first = self._turns.popleft()
            # An error's traceback may refer to the turn: keep no cycle.
            answer, first.answer = first.answer, None
            self._send(answer, first.trace, partial(self._end, first))
            self._finish(first.trace)

    def _written(
        self, response: InferResponse, model: LoadedModel, forms: OutputForms, turn: _Turn, *, final: bool
    ) -> Slices[Parts]:
        """The message for a response. A large one is counted, and waits: it cannot be refused any more, but requests
        can.
        """
        parts = yield from self._rpc.infer.encoder.encode_in_slices(response, forms, model)
        mark = _FINAL if final else _NOT_FINAL
        size = sum(map(len, parts)) + len(mark)
        if size >= COUNTED_BYTES:
            turn.answer_bytes += size
            self._held_bytes += size
            self._largest_answer = max(self._largest_answer, size)
            self._inflight.hold(size)
        return (wire.head(_INFER_RESPONSE, size), *parts, mark)

    def _failure(
        self, request: InferRequest, error: Exception, trace: Trace | None, *, final: bool = True
    ) -> Parts | ServingError:
        """What is sent of a failed execution. `final`: nothing follows."""
        told = known(error)
        if trace is not None:
            trace.error = told.message
        if self._errors_end_stream:
            return told
        return _final_response(request, final=final, error_message=told.message)

    # --- decoupled models -----------------------------------------------------------------------------------------

    async def _stream(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        turn: _Turn,
        wants_final: bool,
    ) -> None:
        """Answer a checked request as often as its model does."""
        last: Parts | ServingError | None
        trace = turn.trace
        try:
            try:
                final = await self._send_responses(model, request, forms, turn)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - one request's failure is a message
                last = self._failure(request, unless_cancelled(error), trace)
            else:
                wants_final = wants_final and not final
                last = _final_response(request) if wants_final else None
            if last is not None:
                await self._send_in_room(last, turn)
        finally:
            self._end(turn)

    async def _send_responses(
        self, model: LoadedModel, request: InferRequest, forms: OutputForms, turn: _Turn
    ) -> bool:
        """True: the client has been told which one is the last."""
        final = False
        async with aclosing(stream(model, request)) as responses:
            async for response in responses:
                final = response.final
                if response.error is not None:
                    message = self._failure(request, response.error, turn.trace, final=final)
                else:
                    slices = self._written(response, model, forms, turn, final=final)
                    message = await self._service.slicer.finish(slices)
                await self._send_in_room(message, turn)
        return final

    async def _send_in_room(self, message: Parts | ServingError, turn: _Turn) -> None:
        await self._room.acquire()
        held, turn.answer_bytes = turn.answer_bytes, 0
        self._send(message, turn.trace, partial(self._sent_in_room, held))

    def _sent_in_room(self, held: int) -> None:
        self._room.release()
        self._held_bytes -= held
        self._inflight.give(held)


def _final_response(request: InferRequest, *, final: bool = True, error_message: str = "") -> Parts:
    """A response without outputs. `final`: no more follow."""
    answer = pb.ModelStreamInferResponse(error_message=error_message)
    answer.infer_response.model_name = request.model_name
    answer.infer_response.model_version = request.model_version
    answer.infer_response.id = request.id
    answer.infer_response.parameters[FINAL_RESPONSE].bool_param = final
    return (answer.SerializeToString(),)


def _wants_empty_final(message: pb.ModelInferRequest) -> bool:
    return EMPTY_FINAL_RESPONSE in message.parameters and message.parameters[EMPTY_FINAL_RESPONSE].bool_param
