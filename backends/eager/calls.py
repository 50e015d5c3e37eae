"""What handlers call other models with: their tensors become a request's, and the answer's tensors theirs."""

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, closing
from contextvars import ContextVar
from typing import Any

import numpy as np

from kserve_v2.backend import ModelCaller
from kserve_v2.errors import InternalError
from kserve_v2.handlers.context import Answer
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.tensors.datatypes import BY_DTYPE, Array

from .outputs import encode_strings, is_torch_tensor
from .tensors import handler_tensors

# What the code that is running does its work for: tasks and `asyncio.to_thread` take this along, threads do not.
_serving: ContextVar[tuple[InferRequest, ...]] = ContextVar("handler_requests", default=())

_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


def make_request(
    model: str,
    inputs: Mapping[str, Any],
    version: str | int,
    outputs: Iterable[str],
    parameters: Mapping[str, ParameterValue] | None,
    sequence: tuple[int | str, bool, bool] | None,
) -> InferRequest:
    """The request that a handler wants to make. Raises InternalError, which names what is wrong with it."""
    if not isinstance(inputs, Mapping):
        raise InternalError(
            f"call of model '{model}': expected a dict of inputs, got {type(inputs).__name__}"
        )
    request = InferRequest(
        model,
        {name: _input(name, value, model) for name, value in inputs.items()},
        str(version),
        requested_outputs=(outputs,) if isinstance(outputs, str) else tuple(outputs),
    )
    for name, value in (parameters or {}).items():
        _add_parameter(request, name, value)
    if sequence is not None:
        request.control.update(zip(_SEQUENCE, _checked_sequence(sequence, model), strict=True))
    return request


def _input(name: str, value: Any, model: str) -> Array:
    """An array as requests have them: C-contiguous, and read-only, because the handler may need it as it is."""
    where = f"call of model '{model}': input '{name}'"
    if is_torch_tensor(value):
        from ..pytorch.tensors import to_numpy  # noqa: PLC0415 - only where the handler uses torch

        try:
            value = to_numpy(value)
        except TypeError as error:
            raise InternalError(f"{where}: {error}") from error
    if not isinstance(value, np.ndarray):
        raise InternalError(f"{where}: expected a numpy array or a torch tensor, got {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        array = encode_strings(where, array)
    elif array.dtype not in BY_DTYPE:
        raise InternalError(f"{where}: there is no datatype for {array.dtype}; convert it with .astype(...)")
    array = array.view() if array.flags.c_contiguous else array.copy()
    array.flags.writeable = False
    return array


def _add_parameter(request: InferRequest, name: str, value: ParameterValue) -> None:
    where = f"call of model '{request.model_name}': parameter '{name}'"
    if name in _SEQUENCE:
        raise InternalError(f"{where}: write sequence=(id, start, end) instead")
    if name in ("priority", "timeout"):
        if type(value) is not int or value < 0:
            raise InternalError(f"{where}: expected an integer >= 0, got {value!r}")
        request.control[name] = value
    elif name.startswith("triton_"):
        raise InternalError(f"{where}: keys that start with 'triton_' are reserved")
    elif not isinstance(value, bool | int | float | str):
        raise InternalError(f"{where}: expected bool, int, float or str, got {type(value).__name__}")
    else:
        request.parameters[name] = value


def _checked_sequence(sequence: Any, model: str) -> tuple[int | str, bool, bool]:
    match sequence:
        case (int() | str() as number, bool() as start, bool() as end) if not isinstance(number, bool):
            return number, start, end
    raise InternalError(
        f"call of model '{model}': sequence: expected (id, start, end), as in (7, True, False), got {sequence!r}"
    )


class Calling:
    """The calls of one handler object. See `handlers.context.Calling`."""

    request = staticmethod(make_request)

    def __init__(self, caller: ModelCaller | None, device: str, *, as_torch: bool) -> None:
        """`as_torch`: the handler gets torch tensors on `device`."""
        self._caller = caller
        self._device = device
        self._as_torch = as_torch
        self._executing: dict[int, tuple[InferRequest, ...]] = {}

    def serving(self, requests: Sequence[InferRequest]) -> AbstractContextManager[None]:
        """The handler executes `requests` in here."""
        return _Execution(self._executing, tuple(requests))

    def call(self, request: InferRequest, requests: Any) -> Answer:
        """Ask another model for one answer. `requests`: what the caller says it is for, None for nothing."""
        caller = self._any_caller()
        return self._answer(caller.call(request, self._served(requests)))

    async def call_async(self, request: InferRequest, requests: Any) -> Answer:
        """As `call`."""
        caller = self._any_caller()
        return self._answer(await caller.call_async(request, self._served(requests)))

    def stream(self, request: InferRequest, requests: Any) -> Generator[Answer, None, None]:
        """Ask another model for all of its answers."""
        return self._answers(self._any_caller().stream(request, self._served(requests)))

    def stream_async(self, request: InferRequest, requests: Any) -> AsyncGenerator[Answer, None]:
        """As `stream`."""
        return self._answers_async(self._any_caller().stream_async(request, self._served(requests)))

    def _answers(self, responses: Generator[InferResponse, None, None]) -> Generator[Answer, None, None]:
        with closing(responses):
            for response in responses:
                yield self._answer(response)

    async def _answers_async(
        self, responses: AsyncGenerator[InferResponse, None]
    ) -> AsyncGenerator[Answer, None]:
        async with aclosing(responses):
            async for response in responses:
                yield self._answer(response)

    def _any_caller(self) -> ModelCaller:
        if self._caller is None:
            raise InternalError("there is no server whose models could be called")
        return self._caller

    def _served(self, given: Any) -> Sequence[InferRequest]:
        """The requests that a call is for: those that were named, or else those of the execution that it comes from.
        Of a thread that is not known: it may work for any of those that are being executed.
        """
        if given is not None:
            named = (given,) if isinstance(given, InferRequest) else tuple(given)
            if not named or not all(isinstance(each, InferRequest) for each in named):
                raise InternalError(
                    f"requests: expected some that the handler was called with, got {given!r}"
                )
            return named
        served = _serving.get() or tuple(each for some in list(self._executing.values()) for each in some)
        if not served:
            raise InternalError(
                "BLS is only supported during the 'execute' function. A handler can call other models as long as it "
                "executes a request: not in load or close"
            )
        return served

    def _answer(self, response: InferResponse) -> Answer:
        if response.error is not None:
            raise response.error
        answer = Answer(handler_tensors(response.outputs, self._device, as_torch=self._as_torch))
        answer.version, answer.parameters = response.model_version, response.parameters
        return answer


class _Execution(AbstractContextManager[None]):
    """Says what is being executed: to the code that runs inside of it, and to threads that this starts."""

    def __init__(
        self, executing: dict[int, tuple[InferRequest, ...]], requests: tuple[InferRequest, ...]
    ) -> None:
        self._executing = executing
        self._requests = requests

    def __enter__(self) -> None:
        self._executing[id(self)] = self._requests
        _serving.set(self._requests)

    def __exit__(self, *_: object) -> None:
        del self._executing[id(self)]
        _serving.set(())
