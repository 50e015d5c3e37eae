"""What a Triton model in the server's process needs of the server."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from typing import Any

from kserve_v2.backend import ModelCaller, ModelControl, ModelMetrics, ModelSource
from kserve_v2.messages import InferRequest, InferResponse

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "debug": logging.DEBUG}


class ServerServices:
    """The server's own; see `kserve_v2_child.triton.services.Services`."""

    def __init__(self, source: ModelSource) -> None:
        self.caller = None if source.caller is None else ServerCaller(source.caller)
        self.metrics: ModelMetrics | None = source.metrics
        self.control: ModelControl | None = source.control
        self._logger = logging.getLogger(f"kserve_v2.model.{source.name}")

    def log(self, level: str, text: str) -> None:
        """Write a line."""
        self._logger.log(_LEVELS[level], "%s", text)


class _Answer:
    """A response of another model. `final`: no other follows, as far as is known."""

    def __init__(self, response: InferResponse) -> None:
        self.outputs = response.outputs
        self.parameters = response.parameters
        self.error = response.error
        # Only those of streams are of a batch of no rows.
        self.final = response.final or response.batch_rows > 0


class ServerCaller:
    """Asks other models."""

    def __init__(self, caller: ModelCaller) -> None:
        self._caller = caller

    def call(self, request: Any, serving: Sequence[InferRequest]) -> _Answer:
        """The one answer to a call."""
        return _Answer(self._caller.call(_request(request), serving))

    async def call_async(self, request: Any, serving: Sequence[InferRequest]) -> _Answer:
        """The one answer to a call."""
        return _Answer(await self._caller.call_async(_request(request), serving))

    def stream(self, request: Any, serving: Sequence[InferRequest]) -> Iterator[_Answer]:
        """All answers to a call."""
        with closing(self._caller.stream(_request(request), serving)) as responses:
            for response in responses:
                yield _Answer(response)

    async def stream_async(self, request: Any, serving: Sequence[InferRequest]) -> AsyncIterator[_Answer]:
        """All answers to a call."""
        async for response in self._caller.stream_async(_request(request), serving):
            yield _Answer(response)


def _request(call: Any) -> InferRequest:
    return InferRequest(
        call.model_name,
        call.inputs,
        call.model_version,
        call.id,
        call.parameters,
        call.requested_outputs,
        call.control,
    )
