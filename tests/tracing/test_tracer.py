"""The tracer: settings as clients see them, what a change does to the sampling, and where traces end up."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.settings import TraceChanges
from kserve_v2.tracing.tracer import Tracer, TracingError

TIMESTAMPS = ("TIMESTAMPS",)


def config(path: Path, **options: object) -> TraceConfig:
    return TraceConfig(**{"levels": TIMESTAMPS, "rate": 1, "file": str(path / "t.json"), **options})  # type: ignore[arg-type]


def serve(tracer: Tracer, model: str, requests: int = 1) -> int:
    """Answer requests to a model; how many of them were traced."""
    traced = 0
    for _ in range(requests):
        trace = tracer.begin(model, {}, "HTTP_RECV_START", 1)
        if trace is not None:
            traced += 1
            tracer.finish(trace)
    return traced


def models_of(path: Path) -> Counter[str]:
    """How many traces of each model are in a file."""
    return Counter(part["model_name"] for part in json.loads(path.read_bytes()) if "model_name" in part)


def test_the_settings_at_the_start_without_options() -> None:
    assert Tracer(TraceConfig()).describe() == {
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "triton",
    }


def test_with_opentelemetry_the_file_s_settings_are_absent() -> None:
    shown = Tracer(TraceConfig(mode="opentelemetry", url="http://h/v1/traces")).describe()
    assert list(shown) == [
        "trace_level", "trace_rate", "trace_count", "trace_mode",
        "url", "bsp_max_queue_size", "bsp_schedule_delay", "bsp_max_export_batch_size",
    ]  # fmt: skip


def test_on_only_while_something_is_traced(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path, levels=()))
    assert not tracer.on
    tracer.update("m", TraceChanges({"levels": TIMESTAMPS}))
    assert tracer.on
    tracer.update("m", TraceChanges(reset=frozenset({"levels"})))
    assert not tracer.on


def test_a_refused_change_changes_nothing() -> None:
    tracer = Tracer(TraceConfig())
    with pytest.raises(InvalidArgumentError):
        tracer.update("", TraceChanges({"levels": TIMESTAMPS, "rate": 3}))
    assert (tracer.on, tracer.describe()["trace_rate"]) == (False, "1000")


def test_models_without_settings_of_their_own_are_counted_together(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path, rate=4))
    tracer.start()
    tracer.update("own", TraceChanges({"rate": 2}))
    assert serve(tracer, "a", 3) + serve(tracer, "b", 3) == 1
    assert serve(tracer, "own", 3) == 1
    tracer.close()


def test_the_count_that_is_shown_is_what_remains(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path, count=3))
    tracer.start()
    assert serve(tracer, "m", 2) == 2
    assert tracer.describe()["trace_count"] == "1"
    # Another setting leaves it alone, a new count starts anew, and so does a reset.
    tracer.update("", TraceChanges({"log_frequency": 5}))
    assert tracer.describe()["trace_count"] == "1"
    assert serve(tracer, "m", 9) == 1
    tracer.update("", TraceChanges({"count": 2}))
    assert serve(tracer, "m", 9) == 2
    tracer.update("", TraceChanges(reset=frozenset({"count"})))
    assert tracer.describe()["trace_count"] == "3"
    tracer.close()


def test_a_new_count_of_the_server_is_one_for_models_that_follow_it(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path, count=0))
    tracer.start()
    tracer.update("follows", TraceChanges({"rate": 2}))
    tracer.update("own", TraceChanges({"count": 0}))
    tracer.update("", TraceChanges({"count": 0}))
    tracer.update("", TraceChanges({"count": 1}))
    assert [serve(tracer, model, 4) for model in ("other", "follows", "own")] == [1, 1, 0]
    tracer.close()


def test_requests_that_are_passed_over_count(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path, levels=(), rate=3))
    tracer.update("m", TraceChanges({"levels": TIMESTAMPS}))
    head = b"POST /v2/models/m/infer HTTP/1.1\r\ntraceparent: 00-1-1-01\r\n\r\n"
    assert [tracer.passes_over("other", head) for _ in range(4)] == [True] * 4
    assert [tracer.passes_over("m", head) or serve(tracer, "m") for _ in range(6)] == [True, True, 1] * 2


def test_traces_go_to_the_file(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path))
    tracer.start()
    serve(tracer, "a", 2)
    serve(tracer, "b", 1)
    tracer.close()
    assert models_of(tmp_path / "t.json") == {"a": 2, "b": 1}


def test_a_change_writes_what_was_collected(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path, log_frequency=100))
    tracer.start()
    serve(tracer, "a", 2)
    tracer.update("", TraceChanges({"log_frequency": 0}))
    serve(tracer, "a", 3)
    tracer.close()
    assert models_of(tmp_path / "t.json.0") == {"a": 2}
    assert models_of(tmp_path / "t.json") == {"a": 3}


def test_a_tracer_that_cannot_write_does_not_start(tmp_path: Path) -> None:
    tracer = Tracer(config(tmp_path / "nosuch"))
    with pytest.raises(TracingError, match="there is no such directory"):
        tracer.start()
    tracer.close()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "kserve_v2.tracing.spans", raising=False)
    with pytest.raises(
        TracingError, match=r"needs the package opentelemetry\..*: pip install opentelemetry-sdk "
    ):
        Tracer(TraceConfig(mode="opentelemetry")).start()
