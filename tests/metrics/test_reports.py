"""The metrics of models that are in several processes."""

from kserve_v2.metrics.registry import MetricsOfModel, MetricsRegistry


def made(
    registry: MetricsRegistry, kind: str = "counter", labels: dict[str, str] | None = None
) -> tuple[MetricsOfModel, int]:
    model = registry.of_model("m")
    family = model.family("seen", "What was seen", kind)
    buckets = [1.0, 2.0] if kind == "histogram" else None
    return model, model.metric(family, labels or {"of": "a"}, buckets)


def text(registry: MetricsRegistry) -> list[str]:
    lines = "".join(family.text() for family in registry.families()).splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_counters_are_sums_that_outlive_a_process() -> None:
    home, worker = MetricsRegistry(), MetricsRegistry()
    model, here = made(home)
    copy, there = made(worker)
    model.increment(here, 1)
    copy.increment(there, 2)
    home.others.say(1, worker.report())
    assert text(home) == ['seen{of="a"} 3']
    copy.increment(there, 2)
    home.others.say(1, worker.report())
    assert text(home) == ['seen{of="a"} 5']
    home.others.end(1)
    assert text(home) == ['seen{of="a"} 5']
    # The next process begins with nothing.
    worker = MetricsRegistry()
    copy, there = made(worker)
    copy.increment(there, 1)
    home.others.say(1, worker.report())
    home.others.say(2, [])
    home.others.end(2)
    assert text(home) == ['seen{of="a"} 6']
    home.others.end(1)
    assert text(home) == ['seen{of="a"} 6']
    model.close()
    assert text(home) == []
    # It was unloaded: what is loaded now has seen nothing yet.
    made(home)
    assert text(home) == ['seen{of="a"} 0']


def test_what_only_another_process_has_seen_is_shown() -> None:
    home, worker = MetricsRegistry(), MetricsRegistry()
    made(home)
    copy, there = made(worker, labels={"of": "b"})
    copy.increment(there, 2)
    home.others.say(1, worker.report())
    assert text(home) == ['seen{of="a"} 0', 'seen{of="b"} 2']


def test_histograms_are_added_bucket_by_bucket() -> None:
    home, worker = MetricsRegistry(), MetricsRegistry()
    model, here = made(home, "histogram")
    copy, there = made(worker, "histogram")
    model.observe(here, 0.5)
    copy.observe(there, 1.5)
    copy.observe(there, 9)
    home.others.say(1, worker.report())
    assert text(home) == [
        'seen_bucket{of="a",le="1"} 1',
        'seen_bucket{of="a",le="2"} 2',
        'seen_bucket{of="a",le="+Inf"} 3',
        'seen_sum{of="a"} 11',
        'seen_count{of="a"} 3',
    ]


def test_gauges_of_processes_are_told_apart() -> None:
    home, worker = MetricsRegistry(), MetricsRegistry()
    model, here = made(home, "gauge")
    copy, there = made(worker, "gauge")
    model.set(here, 1)
    copy.set(there, 7)
    assert text(home) == ['seen{of="a"} 1']
    home.others.say(2, worker.report())
    assert text(home) == ['seen{process="0",of="a"} 1', 'seen{process="2",of="a"} 7']
    home.others.end(2)
    assert text(home) == ['seen{of="a"} 1']
