"""What has happened between two samples, by literal tables."""

from typing import Any

import numpy as np
import pytest

from kserve_v2.ui.live import live_document, live_query
from kserve_v2.ui.sampling import (
    BatchCount,
    ModelSample,
    ProcessSample,
    Sample,
    batches_view,
    between,
    busy_share,
    latencies_ms,
    model_view,
    process_view,
    total_view,
)

LOAD, OTHER_LOAD = object(), object()


def sample(**counted: Any) -> ModelSample:
    return ModelSample("m", 1, counted.pop("counted_by", LOAD), **counted)


BEFORE = sample(
    requests=100,
    inferences=180,
    executions=50,
    success_ns=1_000_000_000,
    queue_ns=500_000_000,
    compute_infer_ns=400_000_000,
    cache_hits=10,
    failures={"REJECTED": 3},
    batches={2: BatchCount(30, 300, {"no_delay": 30}), 8: BatchCount(20, 800, {"full": 20})},
    busy_ns=1000,
    depth=7,
)
AFTER = sample(
    requests=150,
    inferences=300,
    executions=70,
    success_ns=1_300_000_000,
    queue_ns=600_000_000,
    compute_infer_ns=560_000_000,
    cache_hits=20,
    cache_misses=1,
    failures={"REJECTED": 3, "BACKEND": 4},
    batches={
        2: BatchCount(40, 400, {"no_delay": 35, "delay_expired": 5}),
        4: BatchCount(10, 300, {"preferred": 10}),
        8: BatchCount(20, 800, {"full": 20}),
    },
    busy_ns=1_000_001_000,
    depth=2,
    executing=1,
    places=4,
)


def test_totals_are_differences_and_what_is_now_stays() -> None:
    change = between(BEFORE, AFTER)
    assert (change.requests, change.inferences, change.executions) == (50, 120, 20)
    assert (change.success_ns, change.queue_ns, change.compute_infer_ns) == (
        300_000_000,
        100_000_000,
        160_000_000,
    )
    assert (change.cache_hits, change.cache_misses, change.failures) == (10, 1, {"BACKEND": 4})
    assert change.batches == {
        2: BatchCount(10, 100, {"no_delay": 5, "delay_expired": 5}),
        4: BatchCount(10, 300, {"preferred": 10}),
    }
    assert (change.busy_ns, change.depth, change.executing, change.places) == (1_000_000_000, 2, 1, 4)


def test_another_load_has_counted_from_nothing() -> None:
    """A reload begins at 0: what it has counted is not less than what the load before it had."""
    reloaded = sample(
        counted_by=OTHER_LOAD, requests=5, batches={1: BatchCount(5, 50, {"no_delay": 5})}, busy_ns=50
    )
    assert between(BEFORE, reloaded) == reloaded
    assert between(None, reloaded) == reloaded


def test_nothing_has_happened_to_what_is_the_same_sample() -> None:
    """Models that do nothing are not counted anew."""
    change = between(AFTER, AFTER)
    assert (change.requests, change.busy_ns, change.batches, change.failures) == (0, 0, {}, {})
    assert (change.depth, change.places) == (2, 4)


@pytest.mark.parametrize(
    ("durations_ms", "expected"),
    [
        ([], (None, None, None, 0)),
        ([7], (7.0, 7.0, 7.0, 1)),
        # By nearest rank: of a hundred, the 50th, the 95th and the 99th.
        (range(100, 0, -1), (50.0, 95.0, 99.0, 100)),
        ([1] * 98 + [500, 900], (1.0, 1.0, 500.0, 100)),
    ],
)
def test_percentiles_are_durations_that_requests_took(
    durations_ms: list[int], expected: tuple[float | None, ...]
) -> None:
    parts = np.array_split(np.array(durations_ms, np.int64) * 1_000_000, 3)
    assert tuple(latencies_ms(parts).values()) == expected


@pytest.mark.parametrize(
    ("change", "share"),
    [
        ({"busy_ns": 1_000_000_000, "places": 4}, 0.125),
        ({"busy_ns": 9_000_000_000, "places": 4}, 1.0),
        ({"busy_ns": 0, "places": 1}, 0.0),
        ({"busy_ns": 0, "places": 0}, None),
        ({"busy_ns": 9_000_000_000, "places": 4, "streams": True, "executing": 3}, 0.75),
        ({"places": 2, "streams": True, "executing": 3}, 1.0),
    ],
)
def test_instances_are_busy_for_their_part_of_the_time(change: dict[str, Any], share: float | None) -> None:
    assert busy_share(sample(**change), seconds=2) == share


def test_one_model_is_shown_by_second_and_by_request() -> None:
    view = model_view(between(BEFORE, AFTER), seconds=2)
    assert view["requests_per_second"] == 25
    assert view["inferences_per_second"] == 60
    assert view["executions_per_second"] == 10
    # 40 of 50 requests were executed; all were in the queue.
    assert view["mean_ms"] == {
        "request": 6.0,
        "queue": 2.0,
        "compute_input": 0.0,
        "compute_infer": 4.0,
        "compute_output": 0.0,
    }
    assert view["batches"] == [
        {"rows": 2, "executions": 10, "reasons": {"no_delay": 5, "delay_expired": 5}},
        {"rows": 4, "executions": 10, "reasons": {"preferred": 10}},
    ]
    assert view["cache_hits_per_second"] == 5
    assert view["failures_per_second"] == {"BACKEND": 2.0}
    assert (view["queue_depth"], view["executing"], view["places"], view["busy"]) == (2, 1, 4, 0.125)


def test_all_models_together() -> None:
    one = sample(
        requests=10,
        places=1,
        busy_ns=1_000_000_000,
        memory={"cpu": 5},
        batches={1: BatchCount(1, 1, {"full": 1})},
    )
    two = sample(
        requests=20,
        places=3,
        busy_ns=0,
        memory={"cpu": 1, "gpu0": 7},
        batches={1: BatchCount(2, 1, {"no_delay": 2})},
    )
    composed = sample(requests=30, memory={})
    view = total_view([one, two, composed], seconds=1)
    assert (view["requests_per_second"], view["places"], view["busy"]) == (60, 4, 0.25)
    assert view["memory_bytes"] == {"cpu": 6, "gpu0": 7}
    assert view["batches"] == [{"rows": 1, "executions": 3, "reasons": {"full": 1, "no_delay": 2}}]
    assert batches_view([]) == []
    assert total_view([], seconds=1)["busy"] is None


def moment(at_s: float, models: list[ModelSample], **process: Any) -> Sample:
    return Sample(
        int(at_s * 1e9), at_s, ProcessSample(**process), {(each.name, each.version): each for each in models}
    )


def test_the_process_is_shown_for_the_time_between() -> None:
    old = moment(10, [], cpu_ns=5_000_000_000, loop_ns=1_000_000_000, inflight_refused=2)
    new = moment(
        12,
        [],
        cpu_ns=8_000_000_000,
        loop_ns=2_000_000_000,
        loop_waited_ns=500_000_000,
        cpus=4,
        resident_bytes=99,
        inflight_bytes=3,
        inflight_limit=30,
        inflight_refused=6,
        # The first of these was measured before.
        lags=((9_000_000_000, 700_000_000), (10_500_000_000, 1_000_000), (11_500_000_000, 3_000_000)),
    )
    assert process_view(old, new) == {
        "cpu": 1.5,
        "cpus": 4,
        "resident_bytes": 99,
        "loop_busy": 0.5,
        "loop_waited": 0.25,
        "loop_lag_ms": {"mean": 2.0, "max": 3.0},
        "inflight_bytes": 3,
        "inflight_limit": 30,
        "inflight_refused_per_second": 2.0,
    }


def test_of_many_models_the_busiest_are_shown_and_all_are_counted() -> None:
    old = moment(0, [])
    models = [ModelSample(f"m{number:03}", 1, LOAD, requests=number) for number in range(150)]
    document = live_document(old, moment(1, models))
    assert [each["name"] for each in document["models"]] == [f"m{number:03}" for number in range(50, 150)]
    assert document["models_left_out"] == 50
    assert document["total"]["requests_per_second"] == sum(range(150))


def test_who_names_models_gets_these_alone_and_is_told_of_those_that_are_not_loaded() -> None:
    models = [ModelSample(name, 1, LOAD, requests=count) for name, count in (("a", 1), ("b", 2), ("c", 4))]
    document = live_document(moment(0, []), moment(1, models), ("c", "a", "none"))
    assert [each["name"] for each in document["models"]] == ["a", "c"]
    assert document["total"]["requests_per_second"] == 5
    assert document["not_loaded"] == ["none"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", ((), 1.0)),
        (b"interval=0.25", ((), 0.25)),
        (b"models=a%2Cb,c&interval=10", (("a", "b", "c"), 10.0)),
        (b"models=a,,a", (("a",), 1.0)),
        (b"models=", ((), 1.0)),
        (b"models=mod%C3%A8le%20x", (("modèle x",), 1.0)),
    ],
)
def test_a_query_says_which_models_and_how_often(query: bytes, expected: tuple[Any, ...]) -> None:
    assert live_query(query) == expected
