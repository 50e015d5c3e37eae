"""What a model records of its work, in a process of its own, belongs to the trace of its request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningServer, WriteModel, launch
from tests.integration.support import json_tensor

pytestmark = pytest.mark.slow

MODEL = """
import numpy as np
from opentelemetry import trace

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"trace": ("BYTES", [1]), "span": ("BYTES", [1])}
    max_batch_size = 4

    __ASYNC__def __call__(self, inputs):
        context = trace.get_current_span().get_span_context()
        rows = len(inputs["n"])
        return {
            "trace": np.array([[b"%032x" % context.trace_id]] * rows, object),
            "span": np.array([[b"%016x" % context.span_id]] * rows, object),
        }
"""

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Iterator[RunningServer]:
    root: Path = tmp_path_factory.mktemp("traced")
    write_model(root, "sync", MODEL.replace("__ASYNC__", ""))
    write_model(root, "async", MODEL.replace("__ASYNC__", "async "))
    server = launch(
        tmp_path_factory.mktemp("log"), root, "--isolate=python", "--trace-config", "mode=opentelemetry",
        "--trace-config", "level=TIMESTAMPS", "--trace-config", "opentelemetry,url=http://127.0.0.1:9/v1/traces",
    )  # fmt: skip
    yield server
    server.stop()


@pytest.mark.parametrize("name", ["sync", "async"])
def test_the_span_of_the_computation_is_current_in_the_model_s_process(
    traced: RunningServer, name: str
) -> None:
    def ask(headers: dict[str, str]) -> tuple[str, str]:
        body = {"inputs": [json_tensor("n", "INT32", [1, 1], [1])]}
        answer = traced.post(f"/v2/models/{name}/infer", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found = {each["name"]: each["data"][0] for each in answer.json()["outputs"]}
        return found["trace"], found["span"]

    trace_id, span_id = ask({"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"})
    assert trace_id == TRACE_ID
    # A span of the server's, inside of the client's.
    assert span_id not in (SPAN_ID, "0" * 16)
    # The next request, which nobody traces, has none of it.
    assert ask({"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}) == ("0" * 32, "0" * 16)
