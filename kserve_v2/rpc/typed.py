"""RPCs that are written in messages, as they are served: in bytes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from google.protobuf.message import Message

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import UnsupportedError, ordinary
from kserve_v2.rpc.calls import Asked, Context, Direct, Parts, Serialized, Streaming
from kserve_v2.rpc.received import check_fields
from kserve_v2.rpc.status import known, parse


def unary(
    path: str, request_type: type[Message], answer: Callable[[Any, Context], Awaitable[Message]]
) -> Direct:
    """An RPC whose `answer` takes a message and returns one, in a task of its own."""

    def start(data: Serialized, context: Context) -> Asked:
        check_fields(data)
        return _Made(partial(answer, parse(data, request_type), context))

    return Direct(path, start, keeps_message=True)


SERVICE_NAME = "inference.GRPCInferenceService"


def inference_rpc(name: str, act: Callable[[Any], Awaitable[Mapping[str, Any]]]) -> Direct:
    """The RPC of that name of the inference protocol, whose messages are named after it. `act` takes the request, and
    returns the fields of the answer.
    """
    response_type: Any = getattr(pb, f"{name}Response")

    async def answer(request: Any, _: Context) -> Message:
        made: Message = response_type(**await act(request))
        return made

    return unary(f"/{SERVICE_NAME}/{name}", getattr(pb, f"{name}Request"), answer)


class _Made(Asked):
    """An answer that is being made."""

    __slots__ = ("_given_up", "_task")

    def __init__(self, answer: Callable[[], Awaitable[Message]]) -> None:
        self._given_up = False
        self._task = asyncio.get_running_loop().create_task(self._make(answer))

    def give_up(self) -> None:
        """See `OneOutcome`."""
        self._given_up = True
        self._task.cancel()

    async def _make(self, answer: Callable[[], Awaitable[Message]]) -> None:
        try:
            made = (await answer()).SerializeToString()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is one request's failure
            # What it has waited for may have been cancelled, and then somebody waits for its answer all the same.
            if not self._given_up:
                self.on_answer(known(ordinary(error)))
        else:
            self.on_answer((made,))


def streaming(
    path: str,
    request_type: type[Message],
    answer: Callable[[AsyncIterator[Any], Context], AsyncIterator[Message]],
) -> Streaming:
    """An RPC whose `answer` takes and yields messages. One that cannot be read ends it, once those before it are
    answered.
    """

    async def requests(messages: AsyncIterator[Serialized]) -> AsyncIterator[Message]:
        async for message in messages:
            yield parse(message, request_type)

    async def answer_in_bytes(
        messages: AsyncIterator[Serialized], context: Context
    ) -> AsyncGenerator[Parts, None]:
        answers: Any = answer(requests(messages), context)
        async with aclosing(answers):
            async for each in answers:
                yield (each.SerializeToString(),)

    return Streaming(path, answer_in_bytes)


def server_streaming(
    path: str, request_type: type[Message], answer: Callable[[Any, Context], AsyncIterator[Message]]
) -> Streaming:
    """An RPC whose `answer` takes the one message of a call, and yields messages."""

    async def answer_one(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Message]:
        found: list[Any] = []
        async for request in requests:
            if found:
                raise UnsupportedError("this method takes one message")
            found.append(request)
        if not found:
            raise UnsupportedError("this method takes one message, but none was sent")
        answers: Any = answer(found.pop(), context)
        async with aclosing(answers):
            async for each in answers:
                yield each

    return streaming(path, request_type, answer_one)
