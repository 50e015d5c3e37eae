"""A connection of TorchServe's clients: handlers find headers as their clients have spelt them."""

from http import HTTPStatus

from kserve_v2.rest.answer_text import Parts
from kserve_v2.rest.fast_lane import FastCall, Lane
from kserve_v2.rest.heads import InferHead
from kserve_v2.rest.protocol import HttpConnection
from kserve_v2.torchserve_api.errors import TorchServeError, error_body
from kserve_v2.torchserve_api.http_rows import RAW_HEADERS
from kserve_v2.torchserve_api.lane import LastParts, PredictionCall, PredictionLane


class TorchServeConnection(HttpConnection):
    """One HTTP/1.1 connection."""

    _raw: list[tuple[bytes, bytes]]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._raw = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw.append((name, value))
        super().on_header(name, value)

    def _make_scope(self) -> None:
        super()._make_scope()
        self.scope[RAW_HEADERS] = self._raw  # type: ignore[literal-required]

    def _take_fast_lane(self) -> bool:
        lower, self.headers = self.headers, self._raw
        try:
            return super()._take_fast_lane()
        finally:
            self.headers = lower

    def _begin_call(self, lane: Lane, head: InferHead) -> FastCall:
        assert isinstance(lane, PredictionLane)  # noqa: S101 - there is no other here
        call = self._call = PredictionCall(lane, self, head)
        self.cycle = call  # type: ignore[assignment]
        return call

    def _write(self, parts: Parts) -> None:
        super()._write(parts)
        if isinstance(parts, LastParts):
            self.transport.close()

    def _error_body(self, status: HTTPStatus, message: str) -> bytes:
        if status is HTTPStatus.BAD_REQUEST:
            message = "Invalid HTTP message."
        return error_body(TorchServeError(status.value, message))
