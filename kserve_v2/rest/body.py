"""Reading a request's body within the limit on its size."""

from collections.abc import Callable
from typing import Any

from starlette.types import Receive

from kserve_v2.errors import RequestCancelledError, ResourceExhaustedError
from kserve_v2.json_data.structure import check_structure
from kserve_v2.json_data.text import parse_object
from kserve_v2.memory.inflight import COUNTED_BYTES, InflightBytes, Share
from kserve_v2.scheduling.slices import LARGE_BYTES, Room, Slicer, Slices


class BodyReader:
    """Reads the bodies of requests for one server."""

    def __init__(self, limit: int, inflight: InflightBytes, slicer: Slicer | None = None) -> None:
        """`limit`: most bytes that one may have. `slicer`: that of the event loop, for those who read large ones."""
        self._limit = limit
        self._inflight = inflight
        self._slicer = slicer or Slicer()

    async def read(self, receive: Receive, announced: int | None = None) -> bytes | bytearray:
        """The whole body. `announced`: its Content-Length, if that is known. It is among the bytes in flight until
        this returns: the caller decodes it before giving way to the event loop, or counts it.

        Raises ResourceExhaustedError as soon as it is clear that it is too large, OverloadedError if there is no room
        for it, RequestCancelledError if the client leaves.
        """
        limit, inflight = self._limit, self._inflight
        if announced is not None and announced > limit:
            raise _too_large(announced, limit)
        held = 0
        try:
            message = await receive()
            body: bytes | bytearray = message.get("body", b"")
            if message.get("more_body"):
                body = bytearray(body)
            while message.get("more_body") and len(body) <= limit:
                if len(body) - held >= COUNTED_BYTES:
                    inflight.take(len(body) - held)
                    held = len(body)
                message = await receive()
                body += message.get("body", b"")
        finally:
            inflight.give(held)
        if message["type"] == "http.disconnect":
            raise RequestCancelledError("the client left before its request was complete")
        if len(body) > limit:
            raise _too_large(len(body), limit)
        return body

    async def read_object(
        self,
        receive: Receive,
        *,
        may_be_empty: bool = False,
        parse: Callable[[bytes | bytearray, Room], Slices[Any]] | None = None,
    ) -> dict[str, Any]:
        """A body that is a JSON object. One that is empty has no members, if it `may_be_empty`. `parse`: reads a large
        one in slices, as far as there is room; see `json_data.text.parsed`. Raises as `read`, and InvalidArgumentError
        for any other body.
        """
        body = await self.read(receive)
        document = None
        if len(body) >= LARGE_BYTES:
            await self._slicer.finish(check_structure(body))
        if parse is not None and len(body) >= LARGE_BYTES:
            held = Share(self._inflight)
            held.hold(len(body))
            try:
                document = await self._slicer.finish(parse(body, held.hold_if_room))
            finally:
                held.give_back()
        return parse_object(body, document) if body or not may_be_empty else {}


def _too_large(size: int, limit: int) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"request of {size} bytes exceeds the maximum allowed input size of {limit} bytes. "
        "Use --http-max-input-size to increase the limit."
    )
