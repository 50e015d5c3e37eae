"""The registry of the metrics that models make, against its rules, and its text against Prometheus' own parser."""

import gc
import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError, UnsupportedError
from kserve_v2.metrics.registry import MAX_SHOWN_BYTES, MetricsOfModel, MetricsRegistry

Sample = tuple[str, frozenset[tuple[str, str]]]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def samples(registry: MetricsRegistry) -> dict[Sample, float]:
    """All samples as a Prometheus client reads them."""
    text = "".join(family.text() for family in registry.families())
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def names(registry: MetricsRegistry) -> list[str]:
    return [family.name for family in registry.families()]


@pytest.fixture
def registry() -> MetricsRegistry:
    return MetricsRegistry()


@pytest.fixture
def model(registry: MetricsRegistry) -> MetricsOfModel:
    return registry.of_model("m")


def counter(model: MetricsOfModel, name: str = "tokens_total", **labels: str) -> int:
    return model.metric(model.family(name, "Tokens", "counter"), labels)


def test_each_kind_counts_and_is_shown(registry: MetricsRegistry, model: MetricsOfModel) -> None:
    tokens = counter(model, kind="prompt")
    model.increment(tokens, 2)
    model.increment(tokens, 0.5)
    depth = model.metric(model.family("depth", "How deep", "gauge"), {})
    model.set(depth, 4)
    model.increment(depth, -1.5)
    sizes = model.metric(model.family("sizes", "How large", "histogram"), {"unit": "kB"}, [0.5, 1, 10])
    for value in (0.5, 0.6, 1, 100):
        model.observe(sizes, value)
    assert (model.value(tokens), model.value(depth)) == (2.5, 2.5)
    unit = ("unit", "kB")
    assert samples(registry) == {
        ("tokens_total", frozenset({("kind", "prompt")})): 2.5,
        ("depth", frozenset()): 2.5,
        ("sizes_bucket", frozenset({unit, ("le", "0.5")})): 1,
        ("sizes_bucket", frozenset({unit, ("le", "1")})): 3,
        ("sizes_bucket", frozenset({unit, ("le", "10")})): 3,
        ("sizes_bucket", frozenset({unit, ("le", "+Inf")})): 4,
        ("sizes_sum", frozenset({unit})): 102.1,
        ("sizes_count", frozenset({unit})): 4,
    }
    kinds = [(family.name, family.kind, family.help) for family in registry.families()]
    assert kinds == [
        ("tokens_total", "counter", "Tokens"),
        ("depth", "gauge", "How deep"),
        ("sizes", "histogram", "How large"),
    ]


KIND = "TRITONSERVER_METRIC_KIND_"
MONOTONIC = f"{KIND}COUNTER can only be incremented monotonically by non-negative values."


@pytest.mark.parametrize(
    ("kind", "operation", "value", "error", "text"),
    [
        ("counter", "increment", -1, InvalidArgumentError, MONOTONIC),
        ("counter", "increment", math.nan, InvalidArgumentError, MONOTONIC),
        ("counter", "set", 1, UnsupportedError, f"{KIND}COUNTER does not support Set"),
        ("counter", "observe", 1, UnsupportedError, f"{KIND}COUNTER does not support Observe"),
        ("gauge", "observe", 1, UnsupportedError, f"{KIND}GAUGE does not support Observe"),
        ("histogram", "increment", 1, UnsupportedError, f"{KIND}HISTOGRAM does not support Increment"),
        ("histogram", "set", 1, UnsupportedError, f"{KIND}HISTOGRAM does not support Set"),
        ("histogram", "value", None, UnsupportedError, f"{KIND}HISTOGRAM does not support Value"),
    ],
)
def test_what_a_kind_cannot_do(
    registry: MetricsRegistry,
    model: MetricsOfModel,
    kind: str,
    operation: str,
    value: float | None,
    error: type[ServingError],
    text: str,
) -> None:
    buckets = [1.0] if kind == "histogram" else None
    metric = model.metric(model.family("f", "d", kind), {}, buckets)
    before = samples(registry)
    with pytest.raises(error) as raised:
        getattr(model, operation)(metric, *([] if value is None else [value]))
    assert raised.value.message == text
    assert samples(registry) == before


@pytest.mark.parametrize("value", ["1", None, object(), 1j, b"1", [1], 10**400])
@pytest.mark.parametrize("operation", ["increment", "set", "observe"])
def test_a_value_is_a_number(model: MetricsOfModel, operation: str, value: Any) -> None:
    metric = model.metric(model.family("f", "d", "gauge"), {})
    with pytest.raises(InvalidArgumentError, match="the value of a metric must be a number, got "):
        getattr(model, operation)(metric, value)
    assert model.value(metric) == 0


@pytest.mark.parametrize(
    "name",
    ["", "1a", "a b", "a-b", "größe", "__a", "a\n", "a{", "nv_inference_count", "kserve_v2_x", 7, None],
)
def test_an_invalid_name(registry: MetricsRegistry, model: MetricsOfModel, name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Invalid metric name"):
        model.family(name, "d", "counter")
    assert registry.families() == []


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"a-b": "x"}, "Invalid label name: 'a-b'"),
        ({"__a": "x"}, "Invalid label name: '__a'"),
        ({"": "x"}, "Invalid label name: ''"),
        ({"le": "x"}, "Invalid label name: 'le'"),
        ({3: "x"}, "Invalid label name: 3"),
        ({"a": 3}, r"Parameter \[a\] must have a type of TRITONSERVER_PARAMETER_STRING"),
        ({"a": "\ud800"}, "the value of label 'a' has no form in UTF-8"),
        ([("a", "x")], "Labels must be a dictionary"),
        (None, "Labels must be a dictionary"),
    ],
)
def test_invalid_labels(registry: MetricsRegistry, model: MetricsOfModel, labels: Any, text: str) -> None:
    family = model.family("f", "d", "histogram")
    with pytest.raises(InvalidArgumentError, match=text):
        model.metric(family, labels, [1])
    assert samples(registry) == {}


@pytest.mark.parametrize(
    ("kind", "buckets", "text"),
    [
        ("counter", [1.0], "Unexpected args found in counter Metric constructor."),
        ("gauge", [], "Unexpected args found in gauge Metric constructor."),
        ("histogram", None, "Bucket boundaries not found in Metric args."),
        ("histogram", [2, 1], "Bucket Boundaries must be sorted"),
        ("histogram", [1, 1], "Bucket Boundaries must be sorted"),
        ("histogram", [math.nan], "Bucket Boundaries must be sorted"),
        ("histogram", [-math.inf, 1], "Bucket Boundaries must be sorted"),
        ("histogram", ["a"], "must be a number"),
    ],
)
def test_invalid_buckets(model: MetricsOfModel, kind: str, buckets: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        model.metric(model.family("f", "d", kind), {}, buckets)


def test_buckets_may_name_the_infinite_one_and_may_be_none(
    registry: MetricsRegistry, model: MetricsOfModel
) -> None:
    for name, buckets in (("a", [1, math.inf]), ("b", [])):
        model.observe(model.metric(model.family(name, "d", "histogram"), {}, buckets), 3)
    assert samples(registry)["a_bucket", frozenset({("le", "+Inf")})] == 1
    assert samples(registry)["b_bucket", frozenset({("le", "+Inf")})] == 1


def test_a_kind_there_is_not_and_a_description_that_is_none(model: MetricsOfModel) -> None:
    with pytest.raises(InvalidArgumentError, match="Unsupported kind passed to MetricFamily constructor"):
        model.family("f", "d", "summary")
    description: Any = 3
    with pytest.raises(InvalidArgumentError, match="the description of a metric must be a string, got int"):
        model.family("f", description, "counter")
    with pytest.raises(InvalidArgumentError, match="no form in UTF-8"):
        model.family("f", "\udfff", "counter")


def test_the_same_name_and_kind_is_the_same_family_whoever_asks(registry: MetricsRegistry) -> None:
    one, other = registry.of_model("one"), registry.of_model("other")
    for model, amount in ((one, 1), (other, 2), (one, 4)):
        model.increment(counter(model, b="2", a="1"), amount)
    assert other.value(counter(other, a="1", b="2")) == 7
    assert samples(registry) == {("tokens_total", frozenset({("a", "1"), ("b", "2")})): 7}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("f", "counter"), ("f", "gauge")),
        (("f", "histogram"), ("f_count", "counter")),
        (("f_sum", "gauge"), ("f", "histogram")),
        (("f", "histogram"), ("f_bucket", "histogram")),
    ],
)
def test_a_name_that_is_taken(
    registry: MetricsRegistry, model: MetricsOfModel, first: tuple[str, str], second: tuple[str, str]
) -> None:
    made = model.family(first[0], "d", first[1])
    with pytest.raises(InvalidArgumentError, match=r"^Family name already exists with different type"):
        registry.of_model("other").family(second[0], "d", second[1])
    model.remove(made)
    registry.of_model("other").family(second[0], "d", second[1])


def test_a_family_is_shown_until_the_last_user_has_removed_it(registry: MetricsRegistry) -> None:
    one, other = registry.of_model("one"), registry.of_model("other")
    family = one.family("f", "d", "counter")
    assert names(registry) == []
    metric, again = one.metric(family, {}), one.metric(family, {})
    one.remove(family)
    one.increment(metric, 1)
    shared = other.metric(other.family("f", "d", "counter"), {})
    one.remove(metric)
    one.increment(again, 1)
    one.remove(again)
    one.remove(again)
    one.close()
    assert other.value(shared) == 2
    assert names(registry) == ["f"]
    other.close()
    assert names(registry) == []
    other.close()
    fresh = registry.of_model("fresh")
    assert fresh.value(counter(fresh, "f")) == 0


def test_what_is_removed_cannot_be_used(model: MetricsOfModel) -> None:
    family = model.family("f", "d", "gauge")
    metric = model.metric(family, {})
    model.remove(metric)
    cases: dict[str, Callable[[], Any]] = {
        "Could not increment metric value. Metric has been invalidated.": lambda: model.increment(metric, 1),
        "Could not set metric value. Metric has been invalidated.": lambda: model.set(metric, 1),
        "Could not get metric value. Metric has been invalidated.": lambda: model.value(metric),
    }
    model.remove(family)
    cases["Could not create metric. Metric family has been invalidated."] = lambda: model.metric(family, {})
    for text, use in cases.items():
        with pytest.raises(InternalError) as raised:
            use()
        assert raised.value.message == text


def test_a_handle_is_good_for_its_own_model_alone(registry: MetricsRegistry, model: MetricsOfModel) -> None:
    metric = counter(model)
    other = registry.of_model("other")
    with pytest.raises(InternalError):
        other.increment(metric, 1)
    other.remove(metric)
    assert model.value(metric) == 0


def test_a_model_that_is_closed_makes_nothing_more(registry: MetricsRegistry, model: MetricsOfModel) -> None:
    metric = counter(model)
    model.close()
    with pytest.raises(InternalError, match="The model is unloaded"):
        counter(model)
    with pytest.raises(InternalError, match="invalidated"):
        model.increment(metric, 1)
    assert names(registry) == []


def test_a_successor_counts_on_and_may_change_description_and_buckets(registry: MetricsRegistry) -> None:
    old = registry.of_model("m")
    old.increment(counter(old), 3)
    histogram = old.metric(old.family("sizes", "old", "histogram"), {}, [1])
    old.observe(histogram, 0)
    new = registry.of_model("m")
    new.increment(counter(new), 1)
    changed = new.metric(new.family("sizes", "new", "histogram"), {}, [2, 4])
    new.observe(changed, 3)
    old.observe(histogram, 1)
    old.close()
    found = samples(registry)
    assert found["tokens_total", frozenset()] == 4
    buckets = [("sizes_bucket", frozenset({("le", bound)})) for bound in ("2", "4", "+Inf")]
    assert [found[bucket] for bucket in buckets] == [1, 2, 2]
    assert [family.help for family in registry.families()] == ["Tokens", "new"]


def test_one_model_cannot_have_a_histogram_with_two_sets_of_buckets(model: MetricsOfModel) -> None:
    family = model.family("sizes", "d", "histogram")
    model.metric(family, {}, [1, 2])
    model.metric(family, {}, [1, 2, math.inf])
    with pytest.raises(InvalidArgumentError, match=r"exists with other buckets: \[1.0, 2.0\], got \[1.0\]"):
        model.metric(family, {}, [1])


def test_a_model_that_makes_labels_of_what_clients_send_is_stopped(
    registry: MetricsRegistry, model: MetricsOfModel
) -> None:
    family = model.family("requests", "d", "counter")
    with pytest.raises(InvalidArgumentError, match="the metrics of model 'm' are too many"):
        for number in range(MAX_SHOWN_BYTES):
            model.metric(family, {"user": str(number)})
    assert MAX_SHOWN_BYTES / 10 < sum(len(each.text()) for each in registry.families()) <= MAX_SHOWN_BYTES
    # Others are not its victims.
    other = registry.of_model("other")
    counter(other)
    with pytest.raises(InvalidArgumentError, match="the metrics of model 'other' are too many"):
        counter(other, user="x" * MAX_SHOWN_BYTES)


def test_a_process_that_dies_again_and_again_is_none_that_makes_too_many(
    registry: MetricsRegistry, model: MetricsOfModel
) -> None:
    user = counter(model, user="x")
    for _ in range(20_000):
        # It makes what it made before, and removes nothing.
        model.increment(counter(model, user="x"), 1)
    assert model.value(user) == 20_000
    model.close()
    assert samples(registry) == {}


def test_what_is_removed_makes_room(registry: MetricsRegistry, model: MetricsOfModel) -> None:
    family = model.family("f", "d", "histogram")
    half = "x" * (MAX_SHOWN_BYTES // 6)
    for number in range(20):
        metric = model.metric(family, {"a": half, "n": str(number)}, [])
        # Some are removed in the reverse of how they were made.
        model.remove(model.metric(family, {"n": str(number), "a": half}, []))
        model.remove(metric)
    assert samples(registry) == {}
    with pytest.raises(InvalidArgumentError, match="too many"):
        for number in range(3):
            model.metric(family, {"a": half, "n": str(number)}, [])


def test_finalizers_may_remove_while_their_own_thread_is_at_it(
    registry: MetricsRegistry, model: MetricsOfModel
) -> None:
    class Metric:
        def __init__(self) -> None:
            self.handle = counter(model, "cyclic")
            self.me = self

        def __del__(self) -> None:
            model.remove(self.handle)

    kept = counter(model, "kept")
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Metric()
            model.increment(kept, 1)
            registry.families()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert samples(registry) == {("kept_total", frozenset()): 200} or samples(registry) == {
        ("kept", frozenset()): 200
    }


def test_threads_lose_nothing(registry: MetricsRegistry) -> None:
    threads, times = 8, 300
    barrier = threading.Barrier(threads)

    def work(number: int) -> None:
        model = registry.of_model(f"m{number}")
        barrier.wait()
        for each in range(times):
            metric = counter(model, "shared")
            model.increment(metric, 1)
            if each:
                model.remove(metric)
            registry.families()

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert list(samples(registry).values()) == [threads * times]


@given(st.dictionaries(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]*", fullmatch=True), TEXTS, max_size=4), TEXTS)
def test_labels_come_back_as_they_were(labels: dict[str, str], description: str) -> None:
    registry = MetricsRegistry()
    model = registry.of_model("m")
    model.increment(model.metric(model.family("f", description, "counter"), labels), 3)
    [(found, value)] = samples(registry).items()
    assert dict(found[1]) == labels
    assert value == 3


@given(st.floats())
def test_values_come_back_as_they_were(value: float) -> None:
    registry = MetricsRegistry()
    model = registry.of_model("m")
    model.set(model.metric(model.family("f", "d", "gauge"), {}), value)
    [shown] = samples(registry).values()
    assert shown == value or (math.isnan(shown) and math.isnan(value))


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True, max_size=6).map(sorted),
    st.lists(st.floats(allow_nan=False), max_size=10),
)
def test_buckets_hold_what_is_no_larger(bounds: list[float], values: list[float]) -> None:
    registry = MetricsRegistry()
    model = registry.of_model("m")
    histogram = model.metric(model.family("f", "d", "histogram"), {}, bounds)
    for value in values:
        model.observe(histogram, value)
    counts = [count for (name, _), count in samples(registry).items() if name == "f_bucket"]
    assert counts == [sum(value <= bound for value in values) for bound in (*bounds, math.inf)]
    assert list(itertools.accumulate(counts, max)) == counts
