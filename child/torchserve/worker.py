"""One handler and its context: what TorchServe calls a worker."""

from __future__ import annotations

import importlib
import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

import numpy as np

from ..answers import ModelError
from ..host import Placement, Source
from .entry import Entry, find_entry
from .manifest import read_manifest
from .metrics import MetricsSink
from .packing import CONTENT_TYPE, HEADERS, OUT_OF_RESOURCES, OUTPUT, REASON, REFUSED, STATUS
from .results import Body, body_of, checked
from .rows import Row

Json = dict[str, Any]
SendPart = Callable[[int, Json], None]


class Worker:
    """Handles batches, one at a time."""

    def __init__(self, source: Source, config: Mapping[str, Any], placement: Placement) -> None:
        """Nothing of the model's runs yet."""
        self._source = source
        self._config = config
        self._gpu: Optional[int] = placement.device_id if placement.kind == "GPU" else None
        self._context: Any = None
        self._entry: Optional[Entry] = None
        self._refusal: Any = None
        self._sink = MetricsSink(source.metrics)
        # As `ts.metrics` gives them to what handlers count.
        self._labels = (("ModelName", self._name), ("Level", "Model"), ("Hostname", socket.gethostname()))

    def initialize(self) -> None:
        """Find the handler, and let it load its model. On the thread that will handle batches. Raises anything."""
        self._context = self._make_context()
        self._refusal = importlib.import_module("ts.utils.util").PredictionException
        entry = find_entry(self._parameter("handler"), self._source.version_path, self._context)
        envelope = self._envelope()
        if envelope:
            envelopes = importlib.import_module("ts.torch_handler.request_envelope")
            entry = envelopes.wrapped(envelope, entry)
        self._entry = entry

    def _make_context(self) -> Any:
        folder = self._source.version_path
        metrics = importlib.import_module("ts.metrics.metrics_store").MetricsStore(self._name, self._sink)
        kinds = importlib.import_module("ts.metrics.metric_type_enum").MetricTypes
        for name, kind, unit, dimensions in json.loads(self._parameter("model_metrics") or "[]"):
            metrics.add_metric_to_cache(name, unit, dimensions, kinds(kind))
        return importlib.import_module("ts.context").Context(
            self._name,
            str(folder),
            dict(read_manifest(folder).whole),
            max(1, int(self._config.get("max_batch_size") or 1)),
            self._gpu,
            importlib.import_module("ts").__version__,
            self._said("limit_max_image_pixels").lower() != "false",
            metrics,
            json.loads(self._source.settings.get("model_yaml_config", "{}")),
        )

    @property
    def _name(self) -> str:
        """What it was registered as; the server may tell its versions apart by other names."""
        return self._parameter("model_name") or self._source.name

    def _envelope(self) -> str:
        manifest = read_manifest(self._source.version_path)
        return self._said("service_envelope") or manifest.envelope

    def _said(self, name: str) -> str:
        """Of this model, or of all."""
        return self._parameter(name) or self._source.settings.get(name, "")

    def _parameter(self, name: str) -> str:
        told = (self._config.get("parameters") or {}).get(name) or {}
        return str(told.get("string_value", ""))

    def handle(self, rows: Sequence[Row], send_part: Optional[SendPart] = None) -> list[Json]:
        """The answer to each row: its `body`, and the parameters that say more of it. `send_part`: takes parts of
        answers that are sent beforehand, with the place of their row. Raises what the handler raises, and ModelError
        for what is no answer.
        """
        context = self._context
        send: Optional[Callable[[int, Body, int], None]] = None
        if send_part is not None:
            put = send_part

            def send(place: int, body: Body, code: int) -> None:
                # The first one begins the answer: it has what the handler has said of it until then.
                part = _answer(body, context.request_processor[place])
                put(place, {**part, STATUS: code} if code != 200 else part)

        context._begin({index: row.id for index, row in enumerate(rows)}, [row.headers for row in rows], send)
        assert self._entry is not None  # noqa: S101 - it is initialized
        began = time.perf_counter()
        try:
            results = checked(self._entry([row.values for row in rows], context), len(rows))
        except self._refusal as error:
            refused = {"body": str(error.message).encode(), STATUS: _code(error), REFUSED: True}
            return [dict(refused) for _ in rows]
        except BaseException as error:
            if isinstance(error, MemoryError) or _is_of_memory(error):
                raise ModelError(f"{OUT_OF_RESOURCES}: {error}", "RESOURCE_EXHAUSTED") from error
            raise
        finally:
            context._end()
        # To hundredths; `round` writes the digits to do that.
        took_ms = int((time.perf_counter() - began) * 100_000 + 0.5) / 100
        self._sink.add("PredictionTime", "gauge", "ms", self._labels, took_ms)
        return [_answer(body_of(result), said) for result, said in zip(results, context.request_processor)]

    def close(self) -> None:
        """There is nothing to be told to a handler, but what it has counted is brought to the server."""
        self._sink.finish()


def _code(error: Any) -> int:
    code = getattr(error, "error_code", 500)
    return code if type(code) is int and 100 <= code <= 999 else 500


def _is_of_memory(error: BaseException) -> bool:
    """What TorchServe takes for a lack of memory on a GPU; but a defect is none that only speaks of CUDA."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "CUDA" in str(error)


def _answer(body: Body, said: Any) -> Json:
    """`said`: the handler's `RequestProcessor` of the row."""
    answer: Json = {"body": body.data}
    content_type = body.content_type
    headers = said.get_response_headers()
    if headers:
        headers = dict(headers)
        named = next((name for name in headers if name.lower() == "content-type"), None)
        if named is not None:
            content_type = str(headers.pop(named))
    if content_type:
        answer[CONTENT_TYPE] = content_type
    status, reason = said.get_response_status_code(), said.get_response_status_phrase()
    if status != 200:
        answer[STATUS] = int(status)
    if reason:
        answer[REASON] = str(reason)
    if headers:
        answer[HEADERS] = json.dumps([(str(name), str(value)) for name, value in headers.items()])
    return answer


def outputs_of(bodies: Sequence[bytes]) -> dict[str, Any]:
    """As a tensor, a row for each."""
    array = np.empty((len(bodies), 1), np.object_)
    if len(bodies) == 1:
        array[0, 0] = bodies[0]
        return {OUTPUT: array}
    for index, body in enumerate(bodies):
        array[index, 0] = body
    return {OUTPUT: array}
