"""What a handler is told of its model, and of the requests that it handles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

Headers = dict[str, Any]


class RequestProcessor:
    """The headers of one request, and what the handler says of its answer."""

    def __init__(self, request_header: Headers) -> None:
        self._status_code: int = 200
        self._reason_phrase: Optional[str] = None
        self._response_header: dict[str, str] = {}
        self._request_header = request_header

    def get_request_property(self, key: str) -> Any:
        """A header, in the spelling of the client; None if it has not come."""
        return self._request_header.get(key)

    def get_request_properties(self) -> Headers:
        """All headers."""
        return self._request_header

    def report_status(self, code: int, reason_phrase: Optional[str] = None) -> None:
        """The status of the answer."""
        self._status_code = code
        self._reason_phrase = reason_phrase

    def get_response_status_code(self) -> int:
        """That of `report_status`."""
        return self._status_code

    def get_response_status_phrase(self) -> Optional[str]:
        """That of `report_status`."""
        return self._reason_phrase

    def add_response_property(self, key: str, value: str) -> None:
        """A header of the answer."""
        self._response_header[key] = value

    def get_response_headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return self._response_header

    def get_response_header(self, key: str) -> Optional[str]:
        """One of them."""
        return self._response_header.get(key)


class Context:
    """One for each handler object; requests come and go."""

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: Mapping[str, Any],
        batch_size: int,
        gpu: Optional[int],
        mms_version: str,
        limit_max_image_pixels: bool = True,
        metrics: Any = None,
        model_yaml_config: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = {} if model_yaml_config is None else model_yaml_config
        self._system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self.request_ids: Any = None
        self.request_processor: Any = [RequestProcessor({})]
        self._metrics = metrics
        self.header_key_sequence_id = "ts_request_sequence_id"
        self.header_key_sequence_start = "ts_request_sequence_start"
        self.header_key_sequence_end = "ts_request_sequence_end"
        # Of requests that generate until they stop, which are batched in another way than here.
        self.cl_socket: Any = None
        self.stopping_criteria: Any = None
        self._send_part: Optional[Callable[..., None]] = None

    def _begin(
        self,
        request_ids: Mapping[int, str],
        headers: Sequence[Headers],
        send_part: Optional[Callable[..., None]],
    ) -> None:
        """A batch is handled from now on."""
        self.request_ids = dict(request_ids)
        self.request_processor = [RequestProcessor(each) for each in headers]
        self._send_part = send_part
        if self._metrics is not None:
            self._metrics.request_ids = self.request_ids

    def _end(self) -> None:
        """It has been handled; what is known of it stays readable."""
        self._send_part = None

    @property
    def system_properties(self) -> dict[str, Any]:
        """Where the model is, and what it runs on."""
        return self._system_properties

    @property
    def metrics(self) -> Any:
        """What handlers count with."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        self._metrics = metrics

    def get_request_id(self, idx: int = 0) -> Optional[str]:
        """The id of a request."""
        found: Optional[str] = (self.request_ids or {}).get(idx)
        return found

    def get_request_header(self, idx: int, key: str) -> Any:
        """A header of a request; None if it has not come."""
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> Headers:
        """All headers of a request."""
        found: Headers = self.request_processor[idx].get_request_properties()
        return found

    def set_response_content_type(self, idx: int, value: str) -> None:
        """The content type of an answer."""
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> Optional[str]:
        """That of `set_response_content_type`."""
        found: Optional[str] = self.get_response_headers(idx).get("content-type")
        return found

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """A header of an answer."""
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """The headers of an answer."""
        found: dict[str, str] = self.request_processor[idx].get_response_headers()
        return found

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """The status of an answer. The body is sent all the same."""
        if self.request_processor is not None and self.request_processor[idx] is not None:
            self.request_processor[idx].report_status(code, reason_phrase=phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """The status of all answers of the batch."""
        for each in self.request_processor:
            each.report_status(code, reason_phrase=phrase)

    def get_response_status(self, idx: int) -> tuple[int, Optional[str]]:
        """Status and phrase of an answer."""
        said = self.request_processor[idx]
        return said.get_response_status_code(), said.get_response_status_phrase()

    def get_sequence_id(self, idx: int) -> Optional[str]:
        """The sequence that a request belongs to, if it says one."""
        found: Optional[str] = self.get_request_header(idx, self.header_key_sequence_id)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]
