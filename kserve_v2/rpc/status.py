"""Errors as gRPC statuses: the one place where an exception becomes a code and its details."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError, Message

from kserve_v2.errors import ErrorCode, InternalError, InvalidArgumentError, ServingError

logger = logging.getLogger(__name__)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]

# Clients give up on a call whose trailers exceed 8 KiB.
_MAX_DETAILS_BYTES = 6 * 1024
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def unary(
    answer: Callable[[Request, Context], Awaitable[Response]], request_type: type[Request]
) -> "grpc.RpcMethodHandler[Request, Response]":
    """A unary RPC: `answer` returns the response or raises a ServingError."""

    # Not left to grpc, which would tell the client of a class of ours.
    async def call(message: bytes, context: Context) -> Response:
        try:
            return await answer(_parse(message, request_type), context)
        except ServingError as error:
            failure = type(error).code, error.message
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            failure = InternalError.code, unexpected(error).message
        # Not inside of `except`: the exception, and with it the request's tensors, would live in a reference
        # cycle until the garbage collector comes by.
        await abort(context, *failure)
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(call, response_serializer=_serialize)


def streaming(
    answer: Callable[[AsyncIterator[Request], Context], AsyncIterator[Response]], request_type: type[Request]
) -> "grpc.RpcMethodHandler[Request, Response]":
    """An RPC that streams both ways. A message that cannot be read ends it, once those before it are answered."""

    async def call(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[Response]:
        unreadable: list[InvalidArgumentError] = []

        async def requests() -> AsyncIterator[Request]:
            async for message in messages:
                try:
                    request = _parse(message, request_type)
                except InvalidArgumentError as error:
                    unreadable.append(error)
                    return
                yield request

        async for response in answer(requests(), context):
            yield response
        for error in unreadable:
            await abort(context, error.code, error.message)

    return grpc.stream_stream_rpc_method_handler(call, response_serializer=_serialize)


def server_streaming(
    answer: Callable[[Request, Context], AsyncIterator[Response]], request_type: type[Request]
) -> "grpc.RpcMethodHandler[Request, Response]":
    """An RPC that streams its responses."""

    async def call(message: bytes, context: Context) -> AsyncIterator[Response]:
        try:
            request = _parse(message, request_type)
        except InvalidArgumentError as error:
            await abort(context, error.code, error.message)
            raise
        async for response in answer(request, context):
            yield response

    return grpc.unary_stream_rpc_method_handler(call, response_serializer=_serialize)


def _parse(message: bytes, request_type: type[Request]) -> Request:
    try:
        return request_type.FromString(message)
    except DecodeError:
        raise InvalidArgumentError(
            f"the message is not a serialized {request_type.DESCRIPTOR.full_name}"
        ) from None


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


async def abort(context: Context, code: ErrorCode, message: str) -> None:
    """End the RPC with the status of an error. Raises, as grpc wants it."""
    await context.abort(_CODES[code.value.grpc], _details(message))


def _details(message: str) -> str:
    """As much of the message as travels in a trailer, where every byte that is not printable ASCII takes three."""
    whole, message = message, message[:_MAX_DETAILS_BYTES]
    while len(quote(message, safe=_PRINTABLE)) > _MAX_DETAILS_BYTES:
        message = message[: len(message) // 2]
    return message if len(message) == len(whole) else f"{message}…"


def unexpected(error: Exception) -> ServingError:
    """Log a defect of ours, and make the error that the client gets instead: no traceback, path or internal
    name.
    """
    logger.error("unexpected error in the gRPC front end", exc_info=error)
    return InternalError("internal error: the server's log has the details")
