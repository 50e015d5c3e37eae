"""The instances of a handler model: one kind for each way in which a handler can be called."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, Literal

from kserve_v2.backend import AnyInstance, ModelConfig
from kserve_v2.errors import InternalError
from kserve_v2.messages import Answers, InferRequest, Tensors
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, Array, Datatype

from .eager_calls import Calling
from .eager_context import Context
from .eager_declaration import Declaration
from .eager_module import HandlerModule
from .eager_outputs import convert_outputs, convert_tensor, own
from .eager_tensors import handler_tensors

_NOTHING = nullcontext()

_Results = dict[str, Array]
_EachResult = list[_Results | BaseException]


class Handler:
    """One loaded object of a handler's class, and the conversions around its calls."""

    def __init__(
        self, declaration: Declaration, config: ModelConfig, context: Context, module: HandlerModule
    ) -> None:
        """`module`: the class is of it."""
        self.module = module
        self._outputs = {output.name: BY_CONFIG_ENUM[output.data_type] for output in config.output}
        self._as_torch = declaration.tensors == "torch"
        self._device = context.device
        self._takes_requests = declaration.takes_requests
        self._ragged = declaration.ragged
        # Of a model whose requests may be rescheduled: what the next rounds may be given.
        self._round_inputs: dict[str, Datatype] = {}
        if config.sequence_batching.iterative_sequence:
            self._round_inputs = {each.name: BY_CONFIG_ENUM[each.data_type] for each in config.input}
        self.model: Any = declaration.handler()
        self._calling: Calling | None = None
        if hasattr(self.model, "load"):
            # Who has no context does not call other models.
            self._calling = context.calling
            self.model.load(context)

    def serving(self, requests: Sequence[InferRequest]) -> AbstractContextManager[None]:
        """What the handler does in here, it does for these requests."""
        return _NOTHING if self._calling is None else self._calling.serving(requests)

    def call(self, tensors: Tensors, requests: Sequence[InferRequest] | InferRequest) -> Any:
        """Call the handler; what comes back depends on its kind."""
        arguments = self._arguments(tensors)
        return self.model(arguments, requests) if self._takes_requests else self.model(arguments)

    def call_ragged(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Any:
        """Call a handler that takes the tensors of each request by themselves."""
        arguments = [self._arguments(each) for each in tensors]
        return self.model(arguments, requests) if self._takes_requests else self.model(arguments)

    def each_result(self, returned: object, requests: Sequence[InferRequest]) -> _EachResult:
        """The handler's answer to each request, or the exception that it has failed with. One that is not what the
        configuration says is that request's failure alone. Raises InternalError where there are not as many.
        """
        if not isinstance(returned, list | tuple) or len(returned) != len(requests):
            got = (
                f"{len(returned)} answers" if isinstance(returned, list | tuple) else type(returned).__name__
            )
            because = ", because Model.ragged is True" if self._ragged else ""
            raise InternalError(
                f"the handler returned {got} to {len(requests)} requests, expected a list with one dict, or exception, "
                f"for each{because}"
            )
        return [self._one_result(*each) for each in zip(returned, requests, strict=True)]

    def _one_result(self, returned: object, request: InferRequest) -> _Results | BaseException:
        try:
            if isinstance(returned, BaseException):
                return returned
            if self._settle_round(request) and returned is None:
                returned = {}
            return self.results(returned, partial=bool(self._round_inputs))
        except Exception as error:  # noqa: BLE001 - reading what it has returned may run code of the handler's
            return error

    def _arguments(self, tensors: Tensors) -> dict[str, Any]:
        return handler_tensors(tensors, self._device, as_torch=self._as_torch)

    def results(self, returned: object, *, partial: bool = False) -> dict[str, Array]:
        """The handler's answer as arrays; a `partial` one may leave outputs out. To be given to `own`, once nothing
        else holds `returned`.

        Raises InternalError where it is not what the configuration says.
        """
        return convert_outputs(returned, self._outputs, partial=partial)

    def batch_results(self, returned: object, requests: Sequence[InferRequest]) -> _Results | _EachResult:
        """As `results`, of a whole batch; or as `each_result`, of a handler that takes requests and returns a list.
        Requests that were rescheduled have no answer yet: where all were, the handler may return None.
        """
        if self._takes_requests and isinstance(returned, list):
            return self.each_result(returned, requests)
        if not self._round_inputs:
            return self.results(returned)
        answered = [request for request in requests if not self._settle_round(request)]
        return self.results({} if returned is None and not answered else returned, partial=True)

    def _settle_round(self, request: InferRequest) -> bool:
        """Whether the handler has no answer to a request yet: it is rescheduled, or none at all."""
        step = request.sequence
        if not self._round_inputs or step is None:
            return False
        if step.ready:
            step.next_inputs = self._own_inputs(step.next_inputs)
        return not step.ready or step.next_inputs is not None

    def _own_inputs(self, inputs: dict[str, Any] | None) -> dict[str, Any] | None:
        """Tensors for the next round, as arrays that nobody else has."""
        if not inputs:
            return inputs
        if unknown := sorted(map(str, set(inputs) - set(self._round_inputs))):
            raise InternalError(
                f"a request was rescheduled with inputs {unknown}, expected some of {sorted(self._round_inputs)}"
            )
        return {
            name: convert_tensor(f"input '{name}' of the next round", value, self._round_inputs[name]).copy()
            for name, value in inputs.items()
        }

    def own(self, outputs: dict[str, Array], tensors: Tensors) -> Tensors:
        """The results, without memory that anybody else has. `tensors`: what they were computed from; a handler that
        takes requests may have kept those, and thereby the tensors.
        """
        return own(outputs, {} if self._takes_requests else tensors)

    def own_batch(self, answers: _Results | _EachResult, tensors: Tensors) -> Answers:
        """As `own`, of `batch_results`."""
        if isinstance(answers, dict):
            return self.own(answers, tensors)
        return self.own_each(answers, [{}] * len(answers))

    def own_each(self, answers: _EachResult, tensors: Sequence[Tensors]) -> list[Tensors | BaseException]:
        """As `own`, of `each_result`."""
        return [
            self.own(answer, given) if isinstance(answer, dict) else answer
            for answer, given in zip(answers, tensors, strict=True)
        ]

    def close(self) -> None:
        """Let the handler give back what it holds."""
        if hasattr(self.model, "close"):
            self.model.close()


class _HandlerInstance:
    """What all kinds have in common."""

    fresh_outputs: Literal[True] = True

    def __init__(self, handler: Handler, declaration: Declaration, *, owns_handler: bool) -> None:
        self.max_concurrency = declaration.max_concurrency
        self._handler = handler
        self._owns_handler = owns_handler

    def close(self) -> None:
        """Close the handler unless it is shared."""
        if self._owns_handler:
            self._handler.close()
        del self._handler


class EagerInstance(_HandlerInstance):
    """Calls a handler."""

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Answers:
        """Call the handler with the batch."""
        with self._handler.serving(requests):
            outputs = self._handler.batch_results(self._handler.call(tensors, requests), requests)
        return self._handler.own_batch(outputs, tensors)


class AsyncEagerInstance(_HandlerInstance):
    """Calls an async handler, several batches at the same time."""

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Answers:
        """Await the handler's answer to the batch."""
        self._handler.module.work_for_it()
        with self._handler.serving(requests):
            outputs = self._handler.batch_results(await self._handler.call(tensors, requests), requests)
        return self._handler.own_batch(outputs, tensors)


class RaggedEagerInstance(_HandlerInstance):
    """Calls a handler with the tensors of each request by themselves."""

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Answers:
        """Call the handler with the tensors of each request."""
        handler = self._handler
        with handler.serving(requests):
            answers = handler.each_result(handler.call_ragged(tensors, requests), requests)
        return handler.own_each(answers, tensors)


class AsyncRaggedEagerInstance(_HandlerInstance):
    """Calls an async handler so, several batches at the same time."""

    async def execute_async(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Answers:
        """Await the handler's answers to each request."""
        handler = self._handler
        handler.module.work_for_it()
        with handler.serving(requests):
            answers = handler.each_result(await handler.call_ragged(tensors, requests), requests)
        return handler.own_each(answers, tensors)


class StreamEagerInstance(_HandlerInstance):
    """Iterates over a generator handler."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        """Yield what the handler yields."""
        with self._handler.serving((request,)):
            for returned in self._handler.call(tensors, request):
                outputs = self._handler.results(returned, partial=True)
                del returned
                yield self._handler.own(outputs, tensors)


class AsyncStreamEagerInstance(_HandlerInstance):
    """Iterates over an async generator handler, several at the same time."""

    async def stream_async(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[Tensors]:
        """Yield what the handler yields."""
        self._handler.module.work_for_it()
        with self._handler.serving((request,)):
            async with aclosing(self._handler.call(tensors, request)) as responses:
                async for returned in responses:
                    outputs = self._handler.results(returned, partial=True)
                    del returned
                    yield self._handler.own(outputs, tensors)


def make_instance(handler: Handler, declaration: Declaration, *, owns_handler: bool) -> AnyInstance:
    """The kind of instance that the handler's `__call__` asks for."""
    kind: Any
    if declaration.generator:
        kind = AsyncStreamEagerInstance if declaration.asynchronous else StreamEagerInstance
    elif declaration.ragged:
        kind = AsyncRaggedEagerInstance if declaration.asynchronous else RaggedEagerInstance
    else:
        kind = AsyncEagerInstance if declaration.asynchronous else EagerInstance
    made: AnyInstance = kind(handler, declaration, owns_handler=owns_handler)
    return made
