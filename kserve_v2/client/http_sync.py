"""REST for the sync client. Threads may share it."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from kserve_v2.client.patience import Patience
from kserve_v2.client.rest_codec import JSON
from kserve_v2.client.rest_protocol import check
from kserve_v2.client.rest_stream import EventSplitter

T = TypeVar("T")


class HttpTransport:
    """Connections to one server."""

    def __init__(self, connection: Connection) -> None:
        self._address = connection.address
        options = transport_options(connection)
        if self._address.path:
            options = {"transport": httpx.HTTPTransport(uds=self._address.path, **options)}
        self._client = httpx.Client(**client_options(connection), **options)
        self._patience = Patience()
        self._patience.watch(self._client)

    def send(self, exchange: HttpExchange[T], headers: dict[str, str], deadline: Deadline) -> T:
        """Ask, and read the answer. Raises ServingError, InvitedError."""
        with self._asked(
            exchange.method, exchange.path, exchange.body, {**headers, **exchange.headers}, deadline
        ) as response:
            answer = answer_of(response, self._read(response, deadline))
        return exchange.read(answer)

    def stream(self, stream: HttpStream[T], headers: dict[str, str], deadline: Deadline) -> Iterator[T]:
        """Ask, and read the answers as they come. Whoever closes the iterator leaves."""
        with self._asked("POST", stream.path, stream.body, headers | JSON, deadline) as response:
            if response.status_code != httpx.codes.OK:
                check(answer_of(response, self._read(response, deadline)))
            events = EventSplitter()
            for chunk in response.iter_bytes():
                for data in events.feed(chunk):
                    yield stream.read(data)
                deadline.wait_s()
            events.finish(self._address.url)

    def _read(self, response: httpx.Response, deadline: Deadline) -> bytes:
        parts = []
        for part in response.iter_bytes():
            parts.append(part)
            deadline.wait_s()
        return b"".join(parts)

    @contextmanager
    def _asked(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: Deadline
    ) -> Iterator[httpx.Response]:
        try:
            with (
                self._patience.until(deadline),
                self._client.stream(
                    method,
                    base_url(self._address) + path,
                    content=body,
                    headers=headers,
                    timeout=limits_of_time(deadline),
                ) as response,
            ):
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translated(error, self._address, deadline) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
