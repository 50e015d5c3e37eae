"""The instances of a handler model: one kind for each way in which a handler can be called."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Literal

from kserve_v2.backend import AnyInstance
from kserve_v2.messages import Answers, InferRequest, Tensors

from .declaration import Declaration
from .handler import Handler
from .undecodable import UndecodableError, decodable, merge_answers, without_undecodable


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
        handler = self._handler
        try:
            with handler.serving(requests):
                outputs = handler.batch_results(handler.call(tensors, requests), requests)
        except UndecodableError as error:
            if len(requests) == 1:
                raise
            rest, kept, errors = without_undecodable(error, tensors, requests)
            return merge_answers(self.execute(rest, kept) if kept else [], kept, errors)
        if isinstance(outputs, dict):
            return handler.own(outputs, tensors)
        return handler.own_each(outputs, [{}] * len(outputs))


class AsyncEagerInstance(_HandlerInstance):
    """Calls an async handler, several batches at the same time."""

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Answers:
        """Await the handler's answer to the batch."""
        handler = self._handler
        handler.module.work_for_it()
        try:
            with handler.serving(requests):
                outputs = handler.batch_results(await handler.call(tensors, requests), requests)
        except UndecodableError as error:
            if len(requests) == 1:
                raise
            rest, kept, errors = without_undecodable(error, tensors, requests)
            return merge_answers(await self.execute_async(rest, kept) if kept else [], kept, errors)
        if isinstance(outputs, dict):
            return handler.own(outputs, tensors)
        return handler.own_each(outputs, [{}] * len(outputs))


class RaggedEagerInstance(_HandlerInstance):
    """Calls a handler with the tensors of each request by themselves."""

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Answers:
        """Call the handler with the tensors of each request."""
        handler = self._handler
        arguments, errors = handler.ragged_arguments(tensors)
        tensors, requests = decodable(tensors, errors), decodable(requests, errors)
        if not requests:
            return merge_answers([], (), errors)
        with handler.serving(requests):
            answers = handler.each_result(handler.call_ragged(arguments, requests), requests)
        return merge_answers(handler.own_each(answers, tensors), requests, errors)


class AsyncRaggedEagerInstance(_HandlerInstance):
    """Calls an async handler so, several batches at the same time."""

    async def execute_async(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Answers:
        """Await the handler's answers to each request."""
        handler = self._handler
        handler.module.work_for_it()
        arguments, errors = handler.ragged_arguments(tensors)
        tensors, requests = decodable(tensors, errors), decodable(requests, errors)
        if not requests:
            return merge_answers([], (), errors)
        with handler.serving(requests):
            answers = handler.each_result(await handler.call_ragged(arguments, requests), requests)
        return merge_answers(handler.own_each(answers, tensors), requests, errors)


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
