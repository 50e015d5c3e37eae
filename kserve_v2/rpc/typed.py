"""RPCs with streams that are written in messages, as they are served: in bytes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from kserve_v2.errors import ServingError, UnsupportedError
from kserve_v2.rpc.calls import Context, Parts, Serialized, Streaming
from kserve_v2.rpc.status import parse


def streaming(
    path: str,
    request_type: type[Message],
    answer: Callable[[AsyncIterator[Any], Context], AsyncIterator[Message]],
) -> Streaming:
    """An RPC whose `answer` takes and yields messages. One that cannot be read ends it, once those before it are
    answered.
    """

    async def answer_in_bytes(
        messages: AsyncIterator[Serialized], context: Context
    ) -> AsyncGenerator[Parts, None]:
        unreadable: list[ServingError] = []

        async def requests() -> AsyncIterator[Message]:
            async for message in messages:
                try:
                    request = parse(message, request_type)
                except ServingError as error:
                    unreadable.append(error)
                    return
                yield request

        async with aclosing(_in_bytes(answer(requests(), context))) as answers:
            async for parts in answers:
                yield parts
        if unreadable:
            raise unreadable[0]

    return Streaming(path, answer_in_bytes)


def server_streaming(
    path: str, request_type: type[Message], answer: Callable[[Any, Context], AsyncIterator[Message]]
) -> Streaming:
    """An RPC whose `answer` takes the one message of a call, and yields messages."""

    async def answer_one(
        messages: AsyncIterator[Serialized], context: Context
    ) -> AsyncGenerator[Parts, None]:
        found: list[Serialized] = []
        async for message in messages:
            if found:
                raise UnsupportedError("this method takes one message")
            found.append(message)
        if not found:
            raise UnsupportedError("this method takes one message, but none was sent")
        async with aclosing(_in_bytes(answer(parse(found.pop(), request_type), context))) as answers:
            async for parts in answers:
                yield parts

    return Streaming(path, answer_one)


async def _in_bytes(answers: Any) -> AsyncGenerator[Parts, None]:
    """`answers`, an async generator of messages, serialized."""
    async with aclosing(answers):
        async for answer in answers:
            yield (answer.SerializeToString(),)
