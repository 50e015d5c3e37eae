"""What is found, by literal tables: what a test cannot bring about on every machine, and where the limits are."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.ui.explain import explain, stages
from kserve_v2.ui.findings import Seen, duration, percent
from kserve_v2.ui.sampling import BatchCount, ModelSample

MS = 1_000_000
BATCHED = "max_batch_size: 8 dynamic_batching { } instance_group { name: 'm' kind: KIND_CPU count: 1 }"


def seen(text: str = BATCHED, *, requests: int = 1000, **options: Any) -> Seen:
    """A second in which requests took 10 ms, 4 of them in the queue, each in a batch of its own: 10 at a time."""
    server = {name: options.pop(name) for name in [*options] if name in Seen.__dataclass_fields__}
    counted = {
        "requests": requests,
        "inferences": requests,
        "success_ns": requests * 10 * MS,
        "queue_ns": requests * 4 * MS,
        "compute_infer_ns": requests * 4 * MS,
        "batches": {1: BatchCount(requests, requests * 4 * MS, {"no_delay": requests})},
        "busy_ns": 500 * MS,
        "places": 1,
        **options,
    }
    change = ModelSample("m", 1, None, **counted)
    config = text_format.Parse(text, ModelConfig())
    return Seen(change, 1.0, config, **{"cpus": 2, "cpu": 0.5, "all_requests": requests, **server})


def names(found: Seen) -> list[str]:
    return [each.name for each in explain(found)]


def of(found: Seen, name: str) -> Any:
    [finding] = [each for each in explain(found) if each.name == name]
    return finding


QUEUED = {"queue_ns": 1000 * 6 * MS, "busy_ns": 950 * MS}
INPUTS, OUTPUTS = {"compute_input_ns": 1000 * 3 * MS}, {"compute_output_ns": 1000 * 3 * MS}


def threaded(count: int) -> str:
    parameter = f'key: "intra_op_thread_count" value {{ string_value: "{count}" }}'
    return f'{BATCHED} backend: "onnxruntime" parameters {{ {parameter} }}'


@pytest.mark.parametrize(
    ("name", "true", "false"),
    [
        ("no_delay", {}, {"requests": 9}),
        ("no_delay", {}, {"text": BATCHED.replace("{ }", "{ max_queue_delay_microseconds: 100 }", 1)}),
        ("no_delay", {}, {"batches": {5: BatchCount(200, 1, {"no_delay": 200})}}),
        ("busy_instances", QUEUED, {**QUEUED, "busy_ns": 790 * MS}),
        ("busy_instances", QUEUED, {**QUEUED, "queue_ns": 1000 * 4 * MS}),
        ("busy_instances", QUEUED, {**QUEUED, "cpu": 1.9}),
        ("busy_cpus", {**QUEUED, "cpu": 1.9}, QUEUED),
        ("busy_loop", {"loop_busy": 0.86}, {"loop_busy": 0.84}),
        ("late_loop", {"lag_ms": 51.0}, {"lag_ms": 49.0}),
        ("late_loop", {"lag_ms": 51.0}, {"lag_ms": 51.0, "loop_busy": 0.9}),
        # It has waited that long for a CPU: nobody needs to have held it up.
        ("late_loop", {"lag_ms": 51.0, "loop_waited": 0.05}, {"lag_ms": 51.0, "loop_waited": 0.06}),
        ("busy_loop", {"loop_busy": 0.7, "loop_waited": 0.16}, {"loop_busy": 0.6, "loop_waited": 0.3}),
        ("no_cpu", {"loop_waited": 0.26}, {"loop_waited": 0.24}),
        ("quick_model", {"loop_busy": 0.9, "in_place": True}, {"loop_busy": 0.9}),
        ("quick_model", {"loop_busy": 0.9, "in_place": True}, {"loop_busy": 0.5, "in_place": True}),
        ("one_at_a_time", {"success_ns": 1100 * MS}, {"success_ns": 1300 * MS}),
        # They came seldom, and together.
        (
            "one_at_a_time",
            {"success_ns": 380 * MS},
            {"success_ns": 380 * MS, "batches": {2: BatchCount(500, 1, {"no_delay": 500})}},
        ),
        ("few_in_flight", {"success_ns": 1600 * MS}, {"success_ns": 1700 * MS}),
        ("compute_input", INPUTS, OUTPUTS),
        ("compute_output", OUTPUTS, INPUTS),
        ("model", {"compute_infer_ns": 1000 * 5 * MS}, {}),
        ("no_cache", {"text": BATCHED + " response_cache { enable: true }", "caches": False}, {"caches": False}),
        ("useless_cache", {"text": BATCHED + " response_cache { enable: true }", "cache_misses": 100}, {"cache_misses": 100}),
        (
            "useless_cache",
            {"text": BATCHED + " response_cache { enable: true }", "cache_hits": 1, "cache_misses": 99},
            {"text": BATCHED + " response_cache { enable: true }", "cache_hits": 2, "cache_misses": 98},
        ),
        ("threads", {"text": threaded(3)}, {"text": threaded(2)}),
        ("threads", {"text": threaded(3)}, {"text": threaded(3), "busy_ns": 200 * MS}),
        ("merging_refused", {"text": "max_batch_size: 8", "refusal": "rows 1 and 2 differ"}, {"refusal": "asked for"}),
        ("rejected", {"failures": {"REJECTED": 1}}, {"failures": {"CANCELED": 1}}),
        ("failing", {"failures": {"BACKEND": 1}}, {"failures": {"REJECTED": 1}}),
        ("step", {"steps": {"a": 1.0}}, {}),
        ("too_few_requests", {"requests": 9}, {"requests": 10}),
    ],
)  # fmt: skip
def test_a_finding_is_there_where_it_is_true(name: str, true: dict[str, Any], false: dict[str, Any]) -> None:
    assert names(seen(**true)).count(name) == 1
    assert name not in names(seen(**false))


def test_failures_and_the_event_loop_are_told_of_even_if_nothing_was_answered() -> None:
    assert names(seen(requests=0, failures={"BACKEND": 3}, loop_busy=0.9, success_ns=0)) == [
        "failing",
        "busy_loop",
        "too_few_requests",
    ]


def test_of_sequences_nothing_is_said_of_batches() -> None:
    found = seen("max_batch_size: 8 sequence_batching { }", **QUEUED)
    assert {each.about for each in explain(found)} <= {"latency"}
    assert "busy_instances" not in names(found)


def test_the_delay_that_is_proposed_brings_as_many_rows_again() -> None:
    # 1000 rows each second, and one in a batch: another one comes within a millisecond.
    assert of(seen(), "no_delay").snippet == "dynamic_batching { max_queue_delay_microseconds: 1000 }"
    # Never longer than a person would wait for.
    rare = seen(requests=20, success_ns=20 * 100 * MS, queue_ns=0)
    assert of(rare, "no_delay").snippet == "dynamic_batching { max_queue_delay_microseconds: 20000 }"


def test_small_batches_are_no_harm_where_instances_have_time() -> None:
    assert "not needed now" in of(seen(busy_ns=100 * MS), "no_delay").change
    assert "not needed now" not in of(seen(busy_ns=800 * MS), "no_delay").change


def test_the_instances_that_are_proposed_are_one_more() -> None:
    assert of(seen(**QUEUED), "busy_instances").snippet == "instance_group [ { kind: KIND_CPU count: 2 } ]"
    on_gpus = BATCHED.replace("CPU count: 1", "GPU count: 3")
    # What is on a GPU leaves the CPUs alone.
    assert (
        of(seen(on_gpus, cpu=1.9, **QUEUED), "busy_instances").snippet
        == "instance_group [ { kind: KIND_GPU count: 4 } ]"
    )


def test_of_handlers_it_is_said_that_they_share_a_lock() -> None:
    handler = seen(BATCHED + ' backend: "python"', **QUEUED)
    assert "interpreter's lock" in of(handler, "busy_instances").change
    assert "interpreter's lock" not in of(seen(**QUEUED), "busy_instances").change


def test_every_snippet_is_one_that_a_configuration_can_have() -> None:
    varying = 'input { name: "I" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "O" data_type: TYPE_FP32 dims: [ -1 ] }'
    preferred = BATCHED.replace("{ }", "{ preferred_batch_size: [ 6 ] max_queue_delay_microseconds: 100 }", 1)
    rare = {1: BatchCount(1000, 1, {"delay_expired": 1000})}
    shapes = {1: BatchCount(1000, 1, {"shape_mismatch": 1000})}
    full = {8: BatchCount(125, 1, {"full": 125})}
    queue = BATCHED.replace("{ }", "{ default_queue_policy { max_queue_size: 5 } }", 1)
    cached = BATCHED + " response_cache { enable: true }"
    situations = [
        seen(),
        seen(**QUEUED),
        seen("max_batch_size: 8"),
        seen("max_batch_size: 8", refusal="rows differ"),
        seen(varying),
        seen(preferred, batches=rare, queue_ns=1000 * 6 * MS),
        seen(BATCHED + varying, batches=shapes),
        seen(batches=full),
        seen(queue, failures={"REJECTED": 1}),
        seen(cached, cache_misses=200),
        seen(lag_ms=60.0),
    ]
    found = {each.name: each for situation in situations for each in explain(situation) if each.snippet}
    assert found.keys() == {
        "no_delay", "busy_instances", "no_dynamic_batching", "merging_refused", "no_batch_dimension", "too_rare",
        "waiting_for_company", "preferred_not_met", "shape_mismatch", "full", "rejected", "useless_cache",
        "late_loop",
    }  # fmt: skip
    for finding in found.values():
        assert finding.field
        config = text_format.Parse(finding.snippet, ModelConfig())
        first = finding.field.replace("[", ".").split(".")[0]
        assert first in {field.name for field, _ in config.ListFields()}, finding


def test_where_the_time_of_a_request_goes() -> None:
    found = seen(loop_busy=0.5, all_requests=2000)
    assert stages(found) == [
        {"stage": "queue", "mean_ms": 4.0, "share": 0.4},
        {"stage": "compute_input", "mean_ms": 0.0, "share": 0.0},
        {"stage": "compute_infer", "mean_ms": 4.0, "share": 0.4},
        {"stage": "compute_output", "mean_ms": 0.0, "share": 0.0},
        {"stage": "event_loop_cpu", "mean_ms": 0.25, "share": None},
    ]
    nothing = stages(seen(requests=0, success_ns=0, queue_ns=0, compute_infer_ns=0))
    assert all(each["mean_ms"] == 0 for each in nothing)


def test_what_the_cache_has_answered_was_not_executed() -> None:
    cached = seen(cache_hits=500, inferences=500)
    assert cached.executed == 500
    assert cached.rows_per_request == 1
    assert cached.stage_ms("compute_infer") == 8
    assert cached.stage_ms("queue") == 4


@pytest.mark.parametrize(
    ("ms", "text"), [(0.0004, "0 µs"), (0.25, "250 µs"), (1, "1.0 ms"), (999.94, "999.9 ms"), (1500, "1.5 s")]
)
def test_durations_for_people(ms: float, text: str) -> None:
    assert duration(ms) == text


def test_shares_for_people() -> None:
    assert (percent(0.256), percent(1)) == ("26 %", "100 %")
    assert replace(seen(), seconds=2.0).in_flight == 5
