"""The instances of an isolated model that execute several things at a time, on the server's side."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from kserve_v2_child.answers import StreamedResponse
from kserve_v2_child.channel.messages import Kind

from kserve_v2.errors import UnavailableError
from kserve_v2.isolation.async_link import AsyncLink
from kserve_v2.isolation.instances import Isolated
from kserve_v2.isolation.keeper import Keeper, Seat
from kserve_v2.isolation.link import NotSentError
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.requests import answers_of, response_of, take_back
from kserve_v2.isolation.suspects import Suspects
from kserve_v2.messages import InferRequest, Tensors


class _AsyncIsolated(Isolated):
    """What both kinds have in common."""

    def __init__(self, keeper: Keeper, seat: Seat, suspects: Suspects, max_concurrency: Any) -> None:
        super().__init__(keeper, seat, suspects)
        self.max_concurrency: int = max_concurrency

    def _async_link(self) -> AsyncLink:
        """The way to it. Raises UnavailableError if there is none: what died together is not tried again together."""
        link = self._seat.link
        if not isinstance(link, AsyncLink) or not link.process.alive:
            raise self._keeper.error()
        return link

    def _died_of_some(self, process: ModelProcess, requests: Sequence[InferRequest]) -> None:
        """The process has died of what it was executing, this among it."""
        if not process.alive and len(process.executing) == 1:
            self._suspects.died(requests)


class IsolatedAsyncInstance(_AsyncIsolated):
    """Executes batches."""

    separate = False

    async def execute_async(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        """Execute a batch."""
        self._suspects.check(requests)
        link = self._async_link()
        process = link.process
        number, fields = self._begin(process, requests)
        try:
            groups = tensors if self.separate else (tensors,)
            message = await link.ask_async(Kind.EXECUTE, number, fields, groups)
        except NotSentError:
            raise process.error() from None
        except UnavailableError:
            self._died_of_some(process, requests)
            raise
        finally:
            process.executing.pop(number, None)
        take_back(message.fields, message.groups, requests)
        return answers_of(message.fields, message.groups, separate=self.separate)


class IsolatedSeparateAsyncInstance(IsolatedAsyncInstance):
    """Executes batches in which each request has tensors of its own."""

    separate = True


class IsolatedAsyncStreamInstance(_AsyncIsolated):
    """Answers requests any number of times."""

    async def stream_async(
        self, tensors: Tensors, request: InferRequest
    ) -> AsyncIterator[Tensors | StreamedResponse]:
        """Yield the responses to a request."""
        requests = (request,)
        self._suspects.check(requests)
        link = self._async_link()
        process = link.process
        number, fields = self._begin(process, requests, stream=True)
        try:
            message = await link.ask_async(Kind.EXECUTE, number, fields, (tensors,))
            while not message.fields.get("end"):
                yield response_of(message.fields, message.groups, request)
                del message
                message = await link.ask_async(Kind.NEXT, number)
        except GeneratorExit:
            # Of a process that is gone there is nothing to be closed.
            with suppress(NotSentError):
                await link.ask_async(Kind.CLOSE, number)
            raise
        except NotSentError:
            raise process.error() from None
        except UnavailableError:
            self._died_of_some(process, requests)
            raise
        finally:
            process.executing.pop(number, None)
