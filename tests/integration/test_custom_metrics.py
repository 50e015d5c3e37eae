"""Metrics of models' own in /metrics: through loads, reloads, failures and unloads of whole servers."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import ExplicitServer
from tests.integration.support import json_tensor, wait_until

# Counts its requests and sums what they send; {buckets} and {fails} change with a reload.
COUNTING = """
class Model:
    inputs = {{"IN": ("FP32", [1])}}
    outputs = {{"OUT": ("FP32", [1])}}

    def load(self, context):
        self.requests = context.metrics.counter("{name}_requests", "Requests, \\"all\\"", labels={{"of": "a\\nb"}})
        self.last = context.metrics.gauge("{name}_last", "The last value")
        self.sizes = context.metrics.histogram("{name}_sizes", "Values", buckets={buckets})
        {fails}

    def __call__(self, inputs):
        value = float(inputs["IN"][0])
        self.requests.increment(value)
        self.last.set(value)
        self.sizes.observe(value)
        return {{"OUT": inputs["IN"]}}
"""

Sample = tuple[str, frozenset[tuple[str, str]]]


def code(name: str, buckets: str = "[1, 5]", fails: str = "") -> str:
    return COUNTING.format(name=name, buckets=buckets, fails=fails)


def samples(explicit: ExplicitServer, name: str) -> dict[Sample, float]:
    """The samples of a model's own metrics."""
    server = explicit.server
    text = server.client.get(server.metrics).text
    return {
        (sample.name.removesuffix("_total"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(name)
    }


def send(explicit: ExplicitServer, name: str, *values: float) -> None:
    for value in values:
        response = explicit.server.infer(name, {"inputs": [json_tensor("IN", "FP32", [1], [value])]})
        assert response.status_code == 200, response.text


def labels(name: str, **more: str) -> frozenset[tuple[str, str]]:
    return frozenset({"model": name, "version": "1", **more}.items())


@pytest.fixture(params=["", "process"])
def isolation(request: pytest.FixtureRequest) -> str:
    """The configuration of a model in the server's process, or in one of its own."""
    return (
        f'parameters {{ key: "isolation" value {{ string_value: "{request.param}" }} }}'
        if request.param
        else ""
    )


@pytest.fixture
def name(explicit: ExplicitServer, isolation: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"own_{request.node.originalname}{'_isolated' if isolation else ''}"
    yield name
    explicit.unload(name)


def total(explicit: ExplicitServer, name: str) -> float:
    return samples(explicit, name)[f"{name}_requests", labels(name, of="a\nb")]


def test_they_are_shown_behind_the_server_s(explicit: ExplicitServer, name: str, isolation: str) -> None:
    explicit.write(name, code(name), isolation)
    assert explicit.load(name).status_code == 200
    send(explicit, name, 2, 7)
    assert samples(explicit, name) == {
        (f"{name}_requests", labels(name, of="a\nb")): 9,
        (f"{name}_last", labels(name)): 7,
        (f"{name}_sizes_bucket", labels(name, le="1")): 0,
        (f"{name}_sizes_bucket", labels(name, le="5")): 1,
        (f"{name}_sizes_bucket", labels(name, le="+Inf")): 2,
        (f"{name}_sizes_sum", labels(name)): 9,
        (f"{name}_sizes_count", labels(name)): 2,
    }
    text = explicit.server.client.get(explicit.server.metrics).text
    assert f'# HELP {name}_requests Requests, "all"\n# TYPE {name}_requests counter\n' in text
    assert text.index("nv_inference_count") < text.index(f"{name}_requests")


def test_a_reload_counts_on_and_an_unload_ends_them(
    explicit: ExplicitServer, name: str, isolation: str
) -> None:
    explicit.write(name, code(name), isolation)
    assert explicit.load(name).status_code == 200
    send(explicit, name, 2)
    explicit.write(name, code(name, buckets="[1, 2, 50]"), isolation)
    assert explicit.load(name).status_code == 200
    send(explicit, name, 3)
    found = samples(explicit, name)
    assert found[f"{name}_requests", labels(name, of="a\nb")] == 5
    # With other buckets a histogram begins anew.
    assert found[f"{name}_sizes_bucket", labels(name, le="50")] == 1
    assert (f"{name}_sizes_bucket", labels(name, le="5")) not in found
    explicit.write(name, code(name, fails="raise RuntimeError('no')"), isolation)
    assert explicit.load(name).status_code == 400
    send(explicit, name, 1)
    assert total(explicit, name) == 6
    explicit.unload(name)
    wait_until(lambda: samples(explicit, name) == {})
    explicit.write(name, code(name), isolation)
    assert explicit.load(name).status_code == 200
    assert total(explicit, name) == 0


def test_a_load_that_fails_leaves_none(explicit: ExplicitServer, name: str, isolation: str) -> None:
    explicit.write(name, code(name, fails="raise RuntimeError('no')"), isolation)
    assert explicit.load(name).status_code == 400
    assert samples(explicit, name) == {}
    explicit.write(name, code(name, buckets="[3, 2]"), isolation)
    answer = explicit.load(name)
    assert answer.status_code == 400
    assert "ValueError: Bucket Boundaries must be sorted" in answer.text
    assert "model.py, line 9" in answer.text


def test_a_wrong_value_is_an_error_of_the_model_not_of_the_client(
    explicit: ExplicitServer, name: str, isolation: str
) -> None:
    explicit.write(name, code(name), isolation)
    assert explicit.load(name).status_code == 200
    response = explicit.server.infer(name, {"inputs": [json_tensor("IN", "FP32", [1], [-1])]})
    assert response.status_code == 500
    assert "can only be incremented monotonically by non-negative values" in response.text
    send(explicit, name, 4)
    assert total(explicit, name) == 4
