"""`request.trace().get_context()`: what a span of the model's own needs to be a part of the request's trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningServer, WriteModel, launch
from tests.triton.conftest import isolated
from tests.wire.servers import TARGET_IS_TRITON

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(TARGET_IS_TRITON, reason="the server is started with flags of its own"),
]

CODE = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            context = request.trace().get_context()
            assert context is None or type(context) is str
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([str(context)], np.object_))]))
        if not DECOUPLED:
            return answers
        for request, answer in zip(requests, answers):
            request.get_response_sender().send(answer, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
CONFIG = """
backend: "python"
input [ { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_STRING dims: [ 1 ] } ]
"""
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MODES = {
    "opentelemetry": (
        "mode=opentelemetry",
        "opentelemetry,url=http://127.0.0.1:9/v1/traces",
        "level=TIMESTAMPS",
    ),
    "triton": ("mode=triton", "level=TIMESTAMPS", "rate=1"),
}


@pytest.fixture(scope="module", params=MODES)
def traced(
    request: pytest.FixtureRequest,
    isolation: str,
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
) -> Iterator[tuple[str, RunningServer]]:
    root: Path = tmp_path_factory.mktemp("traced")
    for name, decoupled in (("plain", False), ("decoupled", True)):
        policy = f"model_transaction_policy {{ decoupled: {str(decoupled).lower()} }}"
        write_model(root, name, f"DECOUPLED = {decoupled}\n{CODE}", CONFIG + policy)
        isolated(root / name, isolation)
    directory = tmp_path_factory.mktemp("log")
    flags = [flag for text in MODES[request.param] for flag in ("--trace-config", text)]
    if request.param == "triton":
        flags += ["--trace-config", f"triton,file={directory / 'traces'}"]
    server = launch(directory, root, *flags)
    yield request.param, server
    server.stop()


@pytest.mark.parametrize("model", ["plain", "decoupled"])
def test_the_context_is_that_of_the_server_s_span(traced: tuple[str, RunningServer], model: str) -> None:
    mode, server = traced

    def ask(sampled: str) -> Any:
        headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{sampled}"}
        answer = server.post(f"/v2/models/{model}/generate", json={"IN": 1}, headers=headers)
        assert answer.status_code == 200, answer.text
        text = answer.json()["OUT"]
        return None if text == "None" else json.loads(text)

    if mode == "triton":
        # There are no spans that others could be a part of.
        assert ask("01") is None
        return
    version, trace_id, span_id, flags = ask("01")["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE_ID, "01")
    # A span of the server's, inside of the client's.
    assert span_id not in (SPAN_ID, "0" * 16)
    assert ask("00") is None
