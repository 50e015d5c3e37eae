"""`pb_utils.InferenceRequest`: a request that a model is given, or one that it makes to another model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import bls
from .context import ModelContext
from .errors import TritonModelException
from .exchange import Exchange
from .response import InferenceResponse, checked_parameters
from .services import CallRequest
from .tensor import Tensor, received, sent

SEQUENCE_START, SEQUENCE_END = 1, 2
"""`TRITONSERVER_REQUEST_FLAG_SEQUENCE_START` and `_END`"""

RELEASE_ALL, RELEASE_RESCHEDULE = 1, 2
"""`TRITONSERVER_REQUEST_RELEASE_ALL` and `_RESCHEDULE`"""

_NO_TENSOR = "Input tensor for request with id '{}' and model name '{}' should not be empty."
_NO_OUTPUT_NAME = "Requested output name for request with id '{}' and model name '{}' should not be empty."


class InferenceTrace:
    """The trace of a request."""

    def __init__(self, context: str | None = None) -> None:
        self._context = context

    def get_context(self) -> str | None:
        """What a span of the model's own needs to become a part of it, as JSON; None if there is no trace."""
        return self._context


class InferenceResponseSender:
    """Sends the responses to one request. When it is gone, no more come."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Send a response, or the flag that no more follow, or both."""
        self._exchange.send(response, flags)

    def is_cancelled(self) -> bool:
        """Whether nobody waits for responses any more."""
        return self._exchange.cancelled

    def __del__(self) -> None:
        self._exchange.lost()


class InferenceRequest:
    """See the module. `context`: of the model, set by its subclass."""

    __slots__ = (
        "_correlation_id", "_exchange", "_flags", "_id", "_inputs", "_model_name", "_model_version",
        "_names", "_parameters", "_sender", "_timeout", "_trace", "released",
    )  # fmt: skip

    context: ModelContext

    def __init__(
        self,
        request_id: str = "",
        correlation_id: Any = 0,
        inputs: Sequence[Tensor] | None = None,
        requested_output_names: Sequence[str] | None = None,
        model_name: str = "",
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: Any = None,
        trace: InferenceTrace | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if inputs is None or requested_output_names is None or not model_name:
            raise TypeError(
                "InferenceRequest: inputs, requested_output_names and model_name have to be given"
            )
        if not isinstance(correlation_id, (int, str)):
            raise TritonModelException("Correlation ID must be integer or string")
        for tensor in inputs:
            if tensor is None:
                raise TritonModelException(_NO_TENSOR.format(request_id, model_name))
            if not isinstance(tensor, Tensor):
                raise TypeError(f"InferenceRequest: expected Tensor objects, got a {type(tensor).__name__}")
        for name in requested_output_names:
            if not name:
                raise TritonModelException(_NO_OUTPUT_NAME.format(request_id, model_name))
        self._id, self._correlation_id = request_id, correlation_id
        self._inputs = list(inputs)
        self._names: Any = list(requested_output_names)
        self._model_name, self._model_version = model_name, model_version
        self._flags, self._timeout, self._trace = flags, timeout, trace
        self._parameters = {} if parameters is None else checked_parameters(parameters)
        self._exchange: Exchange | None = None
        self._sender: InferenceResponseSender | None = None
        self.released = RELEASE_ALL

    # --- what a request says ------------------------------------------------------------------------------------------

    def request_id(self) -> str:
        """Its id; may be ""."""
        return self._id

    def correlation_id(self) -> Any:
        """The id of its sequence: a number or a text, 0 for none."""
        return self._correlation_id

    def flags(self) -> int:
        """Whether it begins or ends its sequence."""
        return self._flags

    def set_flags(self, flags: int) -> None:
        """Say whether it begins or ends its sequence."""
        self._flags = flags

    def timeout(self) -> int:
        """How many microseconds it may wait; 0 if nobody has said so."""
        return self._timeout

    def parameters(self) -> str:
        """Its parameters, as JSON."""
        return json.dumps(self._parameters)

    def inputs(self) -> list[Tensor]:
        """The tensors that it has."""
        return self._inputs

    def requested_output_names(self) -> Any:
        """The outputs that are wanted: of one that the model was given, as a set."""
        return set(self._names) if self._exchange is not None else self._names

    def trace(self) -> InferenceTrace:
        """Its trace."""
        return self._trace or InferenceTrace()

    # --- one that is executed -----------------------------------------------------------------------------------------

    @classmethod
    def given(cls, incoming: Any, tensors: Mapping[str, Any], exchange: Exchange) -> InferenceRequest:
        """A request that the model is to execute."""
        request = cls.__new__(cls)
        control = incoming.control
        request._id = incoming.id
        request._correlation_id = request._flags = request._timeout = 0
        if control:
            request._correlation_id = control.get("sequence_id", 0)
            request._flags = SEQUENCE_START * bool(control.get("sequence_start"))
            request._flags |= SEQUENCE_END * bool(control.get("sequence_end"))
            request._timeout = incoming.timeout
        request._inputs = [received(name, array) for name, array in tensors.items()]
        request._names = exchange.wanted
        request._parameters = incoming.parameters
        request._exchange = exchange
        request._trace, request._model_name, request._model_version = None, "", -1
        if incoming.trace is not None:
            request._trace = InferenceTrace(_context_of(incoming.trace))
        request.released = RELEASE_ALL
        request._sender = InferenceResponseSender(exchange) if exchange.decoupled else None
        return request

    def is_cancelled(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return self._exchange is not None and self._exchange.cancelled

    def get_response_sender(self) -> InferenceResponseSender:
        """What sends its responses."""
        if self._exchange is None:
            raise TritonModelException("a request that the model has made itself has no response sender")
        if self._sender is None:
            self._exchange.sender_made = True
            self._sender = InferenceResponseSender(self._exchange)
        return self._sender

    def set_release_flags(self, flags: int) -> None:
        """Say what becomes of it after `execute`: it is done with, or executed again."""
        if flags not in (RELEASE_ALL, RELEASE_RESCHEDULE):
            raise TritonModelException(f"Unable to set request release flags. Unsupported flag: {flags}")
        self.released = flags

    # --- one to another model -----------------------------------------------------------------------------------------

    def exec(self, decoupled: bool = False) -> Any:
        """Have it answered: an InferenceResponse, or of a decoupled model an iterator of them. Blocks."""
        call, context = self._call(), self.context
        if decoupled:
            return bls.ResponseIterator(context.caller().stream(call, context.serving()))
        return bls.infer(context.caller(), call, context.serving())

    def async_exec(self, decoupled: bool = False) -> Any:
        """As `exec`: a task, to be awaited."""
        loop = asyncio.get_running_loop()
        call, context = self._call(), self.context
        ask = bls.stream_async if decoupled else bls.infer_async
        return loop.create_task(ask(context.caller(), call, context.serving()))

    def _call(self) -> CallRequest:
        if not self._model_name:
            raise TritonModelException("a request that the model was given cannot be sent to another one")
        call = CallRequest(
            self._model_name,
            {tensor.name(): _read_only(sent(tensor)) for tensor in self._inputs},
            "" if self._model_version == -1 else str(self._model_version),
            self._id,
            dict(self._parameters),
            tuple(self._names),
        )
        if self._timeout > 0:
            call.control["timeout"] = self._timeout
        if self._correlation_id:
            call.control.update(
                sequence_id=self._correlation_id,
                sequence_start=bool(self._flags & SEQUENCE_START),
                sequence_end=bool(self._flags & SEQUENCE_END),
            )
        return call


def _context_of(trace: Any) -> str | None:
    """The headers that tell of the span that the model works in. In a process of the model's own they are all that is
    there; in the server's, the trace itself has spans, if it is one of OpenTelemetry.
    """
    headers = trace
    if not isinstance(trace, Mapping):
        spans = getattr(trace, "spans", None)
        headers = {} if spans is None else spans.headers()
    return json.dumps(dict(headers)) if headers else None


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> Tensor | None:
    """An input of a request; None if it has none of that name."""
    return _by_name(inference_request.inputs(), name)


def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> Tensor | None:
    """An output of a response; None if it has none of that name."""
    return _by_name(inference_response.output_tensors(), name)


def _by_name(tensors: Sequence[Tensor], name: str) -> Tensor | None:
    for tensor in tensors:
        if tensor.name() == name:
            return tensor
    return None
