"""/metrics: Triton's families, the numbers of the statistics, and the reasons of failures."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import FAILING, GATED, identity
from tests.integration.support import (
    Wire,
    blocked,
    gated_request,
    json_tensor,
    metric,
    new_tag,
    pending,
    wait_until,
)

COUNTERS = {
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
}
REASONS = ("OTHER", "BACKEND", "CANCELED", "REJECTED")

BATCHER = "dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 60000000 }"
SHORT_QUEUE = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"


def samples(server: RunningServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples as a Prometheus client reads them; it appends `_total` to the names of counters."""
    text = server.client.get(server.metrics).text
    return {
        (sample.name.removesuffix("_total"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(model: str, **more: str) -> frozenset[tuple[str, str]]:
    """The labels of one series."""
    return frozenset({"model": model, "version": "1", **more}.items())


def row(values: list[float], rows: int = 1) -> dict[str, Any]:
    """A request of `rows` rows."""
    return {"inputs": [json_tensor("IN", "FP32", [rows, 1], values * rows)]}


@pytest.fixture
def model(explicit: ExplicitServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An identity model of its own for each test, so that its counters begin at 0."""
    name = f"metrics_{request.node.originalname}"
    explicit.write(name, identity("FP32", [1], max_batch_size=4))
    assert explicit.load(name).status_code == 200
    yield name
    explicit.unload(name)


def test_the_families_and_their_types(server: RunningServer) -> None:
    response = server.client.get(server.metrics)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert "charset=utf-8" in response.headers["content-type"]
    kinds = {
        line.split()[2]: line.split()[3] for line in response.text.splitlines() if line.startswith("# TYPE")
    }
    assert {name: kinds[name] for name in COUNTERS} == dict.fromkeys(COUNTERS, "counter")
    assert kinds["nv_inference_pending_request_count"] == "gauge"
    assert kinds["kserve_v2_batch_rows"] == "histogram"
    assert kinds["kserve_v2_queue_seconds"] == "histogram"
    assert kinds["kserve_v2_pending_requests"] == "gauge"


def test_every_series_of_a_model_is_there_from_the_start(explicit: ExplicitServer, model: str) -> None:
    found = samples(explicit.server)
    for name in COUNTERS - {"nv_inference_request_failure"}:
        assert found[name, labels(model)] == 0
    for reason in REASONS:
        assert found["nv_inference_request_failure", labels(model, reason=reason)] == 0
    assert found["nv_inference_pending_request_count", labels(model)] == 0


HOSTILE_NAME = 'we"ird {x="1"} # größe, \u2028'
HOSTILE_TAGS = 'metric_tags { key: "team" value: "a\\"} 1\\nevil{b=\\"\\\\" } metric_tags { key: "_x9" value: "ü \\r\\n" }'


def test_hostile_names_and_tags_can_be_read(explicit: ExplicitServer) -> None:
    explicit.write(HOSTILE_NAME, identity("FP32", [1], max_batch_size=4), HOSTILE_TAGS)
    assert explicit.load(HOSTILE_NAME).status_code == 200
    tags = {"team": 'a"} 1\nevil{b="\\', "_x9": "ü \r\n"}
    found = samples(explicit.server)
    for name in COUNTERS - {"nv_inference_request_failure"}:
        assert found[name, labels(HOSTILE_NAME, **tags)] == 0
    assert found["kserve_v2_batch_rows_bucket", labels(HOSTILE_NAME, **tags, le="+Inf")] == 0
    assert not any(name.startswith("evil") for name, _ in found)


def test_a_tag_that_would_make_the_metrics_unreadable_is_refused(explicit: ExplicitServer) -> None:
    explicit.write("tagged", identity("FP32", [1]), 'metric_tags { key: "my-team" value: "a" }')
    response = explicit.load("tagged")
    assert response.status_code == 400
    assert "metric_tags['my-team']" in response.json()["error"]
    assert samples(explicit.server)


def test_an_unloaded_model_has_no_counters(explicit: ExplicitServer, model: str) -> None:
    explicit.unload(model)
    assert ("nv_inference_count", labels(model)) not in samples(explicit.server)


def test_counters_begin_again_with_a_load(explicit: ExplicitServer, model: str) -> None:
    explicit.server.infer(model, row([1]))
    assert samples(explicit.server)["nv_inference_count", labels(model)] == 1
    explicit.unload(model)
    explicit.load(model)
    assert samples(explicit.server)["nv_inference_count", labels(model)] == 0


def test_rows_requests_and_executions(explicit: ExplicitServer, model: str) -> None:
    for rows in (1, 3, 3, 4):
        assert explicit.server.infer(model, row([1], rows)).status_code == 200
    found = samples(explicit.server)
    assert found["nv_inference_count", labels(model)] == 11
    assert found["nv_inference_exec_count", labels(model)] == 4
    assert found["nv_inference_request_success", labels(model)] == 4
    [statistics] = explicit.server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in statistics["batch_stats"]] == [
        (1, 1), (3, 2), (4, 1),
    ]  # fmt: skip


def test_metrics_and_statistics_are_the_same_numbers(server: RunningServer) -> None:
    """Over all models, after whatever has been asked of them."""
    server.infer("bat", {"inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2, 3])]})
    everything = server.get("/v2/models/stats").json()["model_stats"]
    found = samples(server)
    assert any(entry["inference_count"] for entry in everything)
    for entry in everything:
        of = frozenset({"model": entry["name"], "version": entry["version"]}.items())
        durations = entry["inference_stats"]
        assert found["nv_inference_count", of] == entry["inference_count"]
        assert found["nv_inference_exec_count", of] == entry["execution_count"]
        assert found["nv_inference_request_success", of] == durations["success"]["count"]
        assert found["nv_inference_request_duration_us", of] == durations["success"]["ns"] // 1000
        for name in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert found[f"nv_inference_{name}_duration_us", of] == durations[name]["ns"] // 1000
        failures = [found["nv_inference_request_failure", of | {("reason", reason)}] for reason in REASONS]
        assert sum(failures) == durations["fail"]["count"]


def test_the_durations_of_a_request_add_up(explicit: ExplicitServer, model: str) -> None:
    for _ in range(10):
        explicit.server.infer(model, row([1]))
    [entry] = explicit.server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    stats = entry["inference_stats"]
    parts = [stats[name]["ns"] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert all(part > 0 for part in parts)
    assert sum(parts) == stats["success"]["ns"]
    assert {stats[name]["count"] for name in ("success", "queue", "compute_infer")} == {10}
    assert entry["last_inference"] > 1_600_000_000_000, "milliseconds since the epoch"


def test_one_batch_of_four_requests(explicit: ExplicitServer) -> None:
    name = "metrics_batcher"
    explicit.write(name, identity("FP32", [1], max_batch_size=4), BATCHER)
    explicit.load(name)
    wires = [Wire(explicit.server) for _ in range(4)]
    for number, wire in enumerate(wires):
        wire.send_infer(name, row([number]))
    answers = [wire.response().json()["outputs"][0]["data"] for wire in wires]
    for wire in wires:
        wire.close()
    assert answers == [[0], [1], [2], [3]]
    [entry] = explicit.server.get(f"/v2/models/{name}/stats").json()["model_stats"]
    assert (entry["inference_count"], entry["execution_count"]) == (4, 1)
    assert entry["inference_stats"]["success"]["count"] == 4
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in entry["batch_stats"]] == [
        (4, 1)
    ]
    found = samples(explicit.server)
    buckets = {
        bound: found["kserve_v2_batch_rows_bucket", labels(name, le=bound)]
        for bound in ("1", "2", "4", "+Inf")
    }
    assert buckets == {"1": 0, "2": 0, "4": 1, "+Inf": 1}
    assert found["kserve_v2_batch_rows_sum", labels(name)] == 4
    assert found["kserve_v2_batch_rows_count", labels(name)] == 1
    assert found["kserve_v2_queue_seconds_bucket", labels(name, le="+Inf")] == 4
    assert found["kserve_v2_queue_seconds_count", labels(name)] == 4
    waited_s = entry["inference_stats"]["queue"]["ns"] / 1e9
    assert found["kserve_v2_queue_seconds_sum", labels(name)] == pytest.approx(waited_s)
    assert found["kserve_v2_pending_requests", labels(name, priority_level="1")] == 0


def failures(server: RunningServer, model: str) -> dict[str, float]:
    """The failures that have been counted, by reason."""
    counts = {
        reason: metric(server, "nv_inference_request_failure", model=model, reason=reason)
        for reason in REASONS
    }
    return {reason: count for reason, count in counts.items() if count}


def test_a_failure_of_the_model(explicit: ExplicitServer) -> None:
    explicit.write("metrics_failing", FAILING)
    explicit.load("metrics_failing")
    body = {"inputs": [json_tensor("COMMAND", "BYTES", [1, 1], ["raise"])]}
    assert explicit.server.infer("metrics_failing", body).status_code == 500
    assert failures(explicit.server, "metrics_failing") == {"BACKEND": 1}


def test_a_request_that_was_refused_or_given_up(explicit: ExplicitServer) -> None:
    name, server = "metrics_gated", explicit.server
    explicit.write(name, GATED, SHORT_QUEUE)
    explicit.load(name)
    with blocked(server, name) as release:
        with Wire(server) as leaving:
            leaving.send_infer(name, gated_request(new_tag()))
            wait_until(lambda: pending(server, name) == 1)
            assert server.infer(name, gated_request(new_tag())).status_code == 503
        wait_until(lambda: pending(server, name) == 0)
        assert release().status_code == 200
    assert failures(server, name) == {"REJECTED": 1, "CANCELED": 1}


def test_a_request_that_does_not_fit_the_model_is_counted_nowhere(
    explicit: ExplicitServer, model: str
) -> None:
    assert explicit.server.infer(model, {"inputs": []}).status_code == 400
    assert failures(explicit.server, model) == {}
    assert samples(explicit.server)["nv_inference_request_success", labels(model)] == 0


def test_a_name_that_has_to_be_escaped_in_a_label(explicit: ExplicitServer) -> None:
    name = 'quote"d'
    explicit.write(name, identity("FP32", [1]))
    assert explicit.load(name).status_code == 200
    assert samples(explicit.server)["nv_inference_count", labels(name)] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("GET", "/metrics/", 200), ("GET", "/metrics?x=1", 200), ("GET", "/", 404),
     ("GET", "/v2", 404), ("POST", "/metrics", 405)],
)  # fmt: skip
def test_the_metrics_port(server: RunningServer, method: str, path: str, status: int) -> None:
    url = httpx.URL(server.metrics).join(path)
    assert server.client.request(method, url).status_code == status
