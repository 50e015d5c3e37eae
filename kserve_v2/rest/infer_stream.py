"""`infer_stream`: a request as that of `infer`, and an event for each response, for models of every kind."""

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

from starlette.types import Send

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferResponse
from kserve_v2.rest.endpoint import Call, Operation
from kserve_v2.rest.errors import known
from kserve_v2.rest.events import send_error, send_event, start_events
from kserve_v2.rest.infer import Asked, Prepared, begin, decoded, encode_in_slices
from kserve_v2.scheduling.replies import stream


class InferStream:
    """The operation of `POST /v2/models/M[/versions/N]/infer_stream`: the data of each event is the JSON that `infer`
    would answer with.

    A model's error is an event, too. If it comes first, it is also the answer's status.
    """

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._service = service
        self._max_request_bytes = max_request_bytes

    async def __call__(self, call: Call, send: Send) -> None:
        """Send each response as soon as it is there."""
        asked = await decoded(
            self._service, call, self._max_request_bytes, partial(self._begin, call), streams=True
        )
        async with aclosing(stream(asked.model, asked.request)) as responses:
            try:
                async for response in responses:
                    if response.error is not None:
                        await send_error(response.error, call, send)
                        continue
                    await send_event(await self._event(response, asked), 200, call, send)
            except Exception as error:  # noqa: BLE001 - the client is told in the form that it expects
                await send_error(known(error), call, send)
        if not call.started:
            await start_events(200, call, send)
        await send({"type": "http.response.body", "body": b""})

    def _begin(self, call: Call, prepared: Prepared | None) -> Asked:
        return begin(self._service, call, self._max_request_bytes, streams=True, prepared=prepared)

    async def _event(self, response: InferResponse, asked: Asked) -> Sequence[bytes]:
        """The data of an event. Raises InvalidArgumentError where tensors were to follow it, and as `encode`."""
        text, encoded = await self._service.slicer.finish(encode_in_slices(response, asked))
        if encoded.binary:
            raise InvalidArgumentError(
                "infer_stream answers in JSON: leave 'binary_data' and 'binary_data_output' out"
            )
        return text


class ForVerbatim:
    """An operation that is another one for models which read requests themselves: they do not know values by name."""

    def __init__(self, service: InferenceService, plain: Operation, verbatim: Operation) -> None:
        self._service = service
        self._plain = plain
        self._verbatim = verbatim

    async def __call__(self, call: Call, send: Send) -> None:
        """Answer as the one or the other."""
        model = self._service.acquire(call.model_name, call.version)
        operation = self._verbatim if model.signature.verbatim else self._plain
        await operation(call, send)
