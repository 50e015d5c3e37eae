"""REST for the async client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx

from kserve_v2.client.connection import Connection
from kserve_v2.client.deadline import Deadline
from kserve_v2.client.exchange import HttpExchange, HttpStream
from kserve_v2.client.http_common import (
    answer_of,
    base_url,
    client_options,
    limits_of_time,
    translated,
    transport_options,
)
from kserve_v2.client.rest_codec import JSON
from kserve_v2.client.rest_protocol import check
from kserve_v2.client.rest_stream import EventSplitter

T = TypeVar("T")


class AsyncHttpTransport:
    """Connections to one server."""

    def __init__(self, connection: Connection) -> None:
        self._address = connection.address
        options = transport_options(connection)
        if self._address.path:
            options = {"transport": httpx.AsyncHTTPTransport(uds=self._address.path, **options)}
        self._client = httpx.AsyncClient(**client_options(connection), **options)

    async def send(self, exchange: HttpExchange[T], headers: dict[str, str], deadline: Deadline) -> T:
        """Ask, and read the answer. Raises ServingError, InvitedError."""
        asked = self._asked(
            exchange.method, exchange.path, exchange.body, {**headers, **exchange.headers}, deadline
        )
        try:
            # httpx has a time for each piece of an answer, and none for the whole.
            async with asyncio.timeout(deadline.wait_s()), asked as response:
                answer = answer_of(response, await response.aread())
        except TimeoutError:
            raise deadline.error(self._address.url) from None
        return exchange.read(answer)

    async def stream(
        self, stream: HttpStream[T], headers: dict[str, str], deadline: Deadline
    ) -> AsyncGenerator[T, None]:
        """Ask, and read the answers as they come. Whoever closes the iterator leaves."""
        async with self._asked("POST", stream.path, stream.body, headers | JSON, deadline) as response:
            if response.status_code != httpx.codes.OK:
                check(answer_of(response, await response.aread()))
            events = EventSplitter()
            async for chunk in response.aiter_bytes():
                for data in events.feed(chunk):
                    yield stream.read(data)
                deadline.wait_s()
            events.finish(self._address.url)

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: Deadline
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with self._client.stream(
                method,
                base_url(self._address) + path,
                content=body,
                headers=headers,
                timeout=limits_of_time(deadline),
            ) as response:
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translated(error, self._address, deadline) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
