"""A connection of TorchServe's clients: handlers find headers as their clients have spelt them."""

from http import HTTPStatus

from kserve_v2.rest.protocol import HttpConnection
from kserve_v2.torchserve_api.errors import TorchServeError, error_body
from kserve_v2.torchserve_api.http_rows import RAW_HEADERS
from kserve_v2.torchserve_api.lane import PredictionConnection


class TorchServeConnection(HttpConnection):
    """One HTTP/1.1 connection."""

    fast_connection = PredictionConnection

    _raw: list[tuple[bytes, bytes]]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._raw = []

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self._in_head:
            self._raw.append((name, value))

    def _make_scope(self) -> None:
        super()._make_scope()
        self.scope[RAW_HEADERS] = self._raw  # type: ignore[literal-required]

    def _error_body(self, status: HTTPStatus, message: str) -> bytes:
        if status is HTTPStatus.BAD_REQUEST:
            message = "Invalid HTTP message."
        return error_body(TorchServeError(status.value, message))
