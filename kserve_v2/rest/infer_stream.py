"""`infer_stream`: a request as that of `infer`, and an event for each response, for models of every kind."""

from functools import partial

from starlette.types import Send

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferResponse
from kserve_v2.net.answer_text import Parts
from kserve_v2.rest.answers import send_events
from kserve_v2.rest.endpoint import Call, Operation
from kserve_v2.rest.infer import Asked, Infer, encode
from kserve_v2.scheduling.replies import stream


class InferStream(Infer):
    """The operation of `POST /v2/models/M[/versions/N]/infer_stream`: the data of each event is the JSON that `infer`
    would answer with.
    """

    streams = True

    async def __call__(self, call: Call, send: Send) -> None:
        """Send each response as soon as it is there."""
        asked = await self.decoded(call)
        await send_events(stream(asked.model, asked.request), partial(self._event, asked), call, send)

    async def _event(self, asked: Asked, response: InferResponse) -> Parts:
        """The data of an event. Raises InvalidArgumentError where tensors were to follow it, and as `encode`."""
        encoded = await self._service.slicer.finish(encode(response, asked))
        if encoded.json_bytes:
            raise InvalidArgumentError(
                "infer_stream answers in JSON: leave 'binary_data' and 'binary_data_output' out"
            )
        return encoded.parts


def unless_verbatim(service: InferenceService, plain: Operation, verbatim: Operation) -> Operation:
    """An operation that is another one for models which read requests themselves: they do not know values by name."""

    async def answer(call: Call, send: Send) -> None:
        model = service.acquire(call.model_name, call.version)
        await (verbatim if model.signature.verbatim else plain)(call, send)

    return answer
