"""A request on its way through a scheduler."""

import asyncio
from collections.abc import Hashable

from kserve_v2.messages import InferRequest, InferResponse


class Pending:
    """One queued request and the future that takes its one outcome.

    The future belongs to the server's event loop; everything else is read by the instance thread that takes
    the request. Compared by identity: two equal requests are two requests.
    """

    __slots__ = ("enqueued_ns", "future", "key", "request", "rows")

    def __init__(
        self,
        request: InferRequest,
        rows: int,
        key: Hashable,
        future: asyncio.Future[InferResponse],
        enqueued_ns: int,
    ) -> None:
        self.request = request
        self.rows = rows
        self.key = key
        self.future = future
        self.enqueued_ns = enqueued_ns

    def __repr__(self) -> str:
        return (
            f"<Pending id={self.request.id!r} rows={self.rows} key={self.key!r} {self.future._state.lower()}>"
        )
