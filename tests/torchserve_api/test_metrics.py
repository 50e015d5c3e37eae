"""The metrics API over a real socket, read by Prometheus' own parser, which has the names of counters end in `_total`,
whether they do or not: here none does.
"""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.support import wait_until
from tests.torchserve_api.conftest import Server

pytestmark = pytest.mark.slow


def samples(server: Server, query: str = "") -> dict[str, list[tuple[dict[str, str], float]]]:
    answer = server.metrics.get(f"/metrics{query}")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name.removesuffix("_total"), []).append((sample.labels, sample.value))
    return found


def requests(server: Server, version: str) -> float:
    found = samples(server).get("ts_inference_requests", [])
    return sum(
        value
        for labels, value in found
        if (labels["model_name"], labels["model_version"]) == ("lab", version)
    )


def test_requests_are_counted_by_the_version_of_their_path(server: Server) -> None:
    before = requests(server, "default"), requests(server, "1.0")
    server.inference.post("/predictions/lab", content=b"x")
    server.inference.post("/predictions/lab/1.0", content=b"x")
    server.inference.post("/predictions/lab/1.0", content=b"raise")
    assert (requests(server, "default"), requests(server, "1.0")) == (before[0] + 1, before[1] + 2)
    found = samples(server)
    assert found["ts_inference_latency_microseconds"]
    assert found["ts_queue_latency_microseconds"]
    assert found["Requests2XX"][0][0].keys() == {"Level", "Hostname"}
    assert found["Requests5XX"][0][1] >= 1
    workers = [labels["WorkerName"] for labels, _ in found["WorkerLoadTime"]]
    assert "W-9000-lab_1.0" in workers
    for name in ("CPUUtilization", "MemoryUsed", "MemoryUtilization", "DiskAvailable"):
        assert found[name][0][1] >= 0


def test_the_metrics_of_handlers(server: Server) -> None:
    """`model_metrics_auto_detect` has them shown. They come by a way of their own, a moment later, and are 0 at first."""
    server.inference.post("/predictions/lab", content=b"x")
    wait_until(lambda: any(value >= 1 for _, value in samples(server, "?name[]=Words").get("Words", [])))
    labels, _ = samples(server, "?name[]=Words")["Words"][0]
    assert (labels["ModelName"], labels["Level"]) == ("lab", "Model")


def test_a_handler_finds_the_metrics_that_are_listed(server: Server) -> None:
    assert server.inference.post("/predictions/lab", content=b"listed").text == "listed"
    wait_until(lambda: [value for _, value in samples(server, "?name[]=Listed").get("Listed", [])] == [3])
    [(labels, _)] = samples(server, "?name[]=Listed")["Listed"]
    assert labels["Place"] == "here"
    assert server.inference.post("/predictions/lab", content=b"unlisted").text == "missed"


def test_some_of_them(server: Server) -> None:
    assert server.inference.post("/predictions/lab", content=b"x").status_code == 200
    found = samples(server, "?name[]=Requests2XX&name[]=MemoryUsed")
    assert found.keys() == {"Requests2XX", "MemoryUsed"}
    assert server.metrics.get("/nosuch").json()["type"] == "ResourceNotFoundException"
