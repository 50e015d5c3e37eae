"""Metrics of handlers: what they make with `context.metrics`, and how it is shown."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from backends.eager.metrics import DEFAULT_BUCKETS, Metrics
from kserve_v2.backend import ModelConfig
from kserve_v2.metrics.registry import MetricsOfModel, MetricsRegistry


@pytest.fixture
def registry() -> MetricsRegistry:
    return MetricsRegistry()


@pytest.fixture
def own(registry: MetricsRegistry) -> MetricsOfModel:
    return registry.of_model("m")


@pytest.fixture
def metrics(own: MetricsOfModel) -> Metrics:
    return Metrics(own, ModelConfig(name="m", metric_tags={"team": "blue"}), 3)


def shown(registry: MetricsRegistry) -> list[str]:
    text = "".join(family.text() for family in registry.families())
    return [line for line in text.splitlines() if not line.startswith("#")]


LABELS = 'model="m",team="blue",version="3"'


def test_metrics_have_the_labels_of_the_model_and_their_own(
    registry: MetricsRegistry, metrics: Metrics
) -> None:
    tokens = metrics.counter("tokens_total", "Tokens", labels={"kind": "prompt"})
    tokens.increment()
    tokens.increment(2.5)
    depth = metrics.gauge("depth", "Depth")
    depth.set(5)
    depth.increment()
    depth.decrement(2)
    sizes = metrics.histogram("sizes", "Sizes", buckets=[1, 2])
    sizes.observe(2)
    assert (tokens.value(), depth.value()) == (3.5, 4)
    assert shown(registry) == [
        f'tokens_total{{kind="prompt",{LABELS}}} 3.5',
        f"depth{{{LABELS}}} 4",
        f'sizes_bucket{{{LABELS},le="1"}} 0',
        f'sizes_bucket{{{LABELS},le="2"}} 1',
        f'sizes_bucket{{{LABELS},le="+Inf"}} 1',
        f"sizes_sum{{{LABELS}}} 2",
        f"sizes_count{{{LABELS}}} 1",
    ]


def test_the_same_metric_may_be_asked_for_at_every_request(
    registry: MetricsRegistry, own: MetricsOfModel, metrics: Metrics
) -> None:
    for _ in range(50_000):
        metrics.counter("tokens_total", "Tokens", labels={"a": "1", "b": "2"}).increment()
    other = Metrics(own, ModelConfig(name="m", metric_tags={"team": "blue"}), 3)
    other.counter("tokens_total", "Tokens", labels={"b": "2", "a": "1"}).increment()
    assert shown(registry) == [f'tokens_total{{a="1",b="2",{LABELS}}} 50001']


class Plain:
    """Takes what can be sent to another process, as the metrics of an isolated model are."""

    def __init__(self, own: MetricsOfModel) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            return getattr(self._own, name)(*json.loads(json.dumps(arguments)))

        return call


def test_all_that_is_asked_for_can_be_sent_to_another_process(
    registry: MetricsRegistry, own: MetricsOfModel
) -> None:
    metrics = Metrics(Plain(own), ModelConfig(name="m"), 1)
    one = np.float32(1)
    metrics.counter("c", "d", labels={"a": "b"}).increment(np.int64(2))
    gauge = metrics.gauge("g", "d")
    gauge.set(torch.tensor(3.0))
    gauge.decrement(one)
    metrics.histogram("h", "d", buckets=np.array([0.5, 1.5])).observe(one)
    assert shown(registry) == [
        'c{a="b",model="m",version="1"} 2',
        'g{model="m",version="1"} 2',
        'h_bucket{model="m",version="1",le="0.5"} 0',
        'h_bucket{model="m",version="1",le="1.5"} 1',
        'h_bucket{model="m",version="1",le="+Inf"} 1',
        'h_sum{model="m",version="1"} 1',
        'h_count{model="m",version="1"} 1',
    ]
    assert gauge.value() == 2


def test_a_block_is_timed_whether_it_fails_or_not(registry: MetricsRegistry, metrics: Metrics) -> None:
    seconds = metrics.histogram("seconds", "Seconds")
    with seconds.time():
        pass
    with pytest.raises(KeyError), seconds.time():
        raise KeyError
    lines = shown(registry)
    assert lines[-1] == f"seconds_count{{{LABELS}}} 2"
    assert len(lines) == len(DEFAULT_BUCKETS) + 3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda m: m.counter("a b", "d"), "Invalid metric name"),
        (lambda m: m.counter("nv_inference_count", "d"), "are the server's own"),
        (
            lambda m: m.counter("f", "d", labels={"model": "x"}),
            "label 'model' of metric 'f' is the server's own",
        ),
        (lambda m: m.counter("f", "d", labels={"a-b": "x"}), "Invalid label name"),
        (lambda m: m.counter("f", "d", labels={"a": 1}), "must have a type of TRITONSERVER_PARAMETER_STRING"),
        (lambda m: m.histogram("f", "d", buckets=[2, 1]), "must be sorted"),
        (lambda m: [m.counter("f", "d"), m.gauge("f", "d")], "already exists with different type"),
        (lambda m: [m.histogram("f", "d"), m.histogram("f", "d", buckets=[1])], "exists with other buckets"),
        (lambda m: m.counter("f", "d").increment(-1), "can only be incremented monotonically"),
    ],
)
def test_mistakes_are_value_errors_of_the_handler(metrics: Metrics, make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make(metrics)


@pytest.mark.parametrize("value", ["1", b"1", None, [1]])
def test_a_value_that_is_no_number(metrics: Metrics, value: Any) -> None:
    gauge = metrics.gauge("g", "d")
    with pytest.raises(TypeError):
        gauge.set(value)
    assert gauge.value() == 0


def test_without_a_server_they_count_all_the_same() -> None:
    metrics = Metrics(None, ModelConfig(name="m"), 1)
    counter, gauge = metrics.counter("c", "d"), metrics.gauge("g", "d")
    counter.increment(2)
    gauge.set(3)
    gauge.decrement()
    metrics.histogram("h", "d").observe(1)
    assert (counter.value(), gauge.value()) == (2, 2)
    assert metrics.counter("c", "d").value() == 2
