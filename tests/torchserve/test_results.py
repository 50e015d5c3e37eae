"""What a handler gives as JSON, and what it counts."""

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve_v2_child.torchserve.metrics import MetricsSink
from kserve_v2_child.torchserve.results import JSON, body_of

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_NAMES = st.text() | st.integers() | st.none() | st.floats()
_FLAT = st.lists(_PLAIN, max_size=4) | st.dictionaries(_NAMES, _PLAIN, max_size=4)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _FLAT
    | st.lists(_FLAT | _PLAIN, max_size=3)
    | st.dictionaries(st.text(), _FLAT | _PLAIN, max_size=3)
)
def test_json_has_the_indent_that_it_has_in_torchserve(value: Any) -> None:
    assert body_of(value) == (json.dumps(value, indent=2).encode(), JSON)


class _Metrics:
    """The server's: counts how often it is asked, and holds up who asks until it may go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.values: dict[str, float] = {}
        self.go_on = threading.Event()

    def family(self, name: str, text: str, kind: str) -> str:
        return name

    def metric(self, family: str, labels: dict[str, str], buckets: Any) -> str:
        return family

    def increment(self, name: str, value: float) -> None:
        self.asked += 1
        self.go_on.wait()
        self.values[name] = self.values.get(name, 0) + value


@pytest.mark.parametrize("held_up", [True, False])
def test_what_is_counted_is_brought_together_and_none_of_it_is_lost(held_up: bool) -> None:
    metrics = _Metrics()
    sink = MetricsSink(metrics)
    if not held_up:
        metrics.go_on.set()
    for _ in range(1000):
        sink.add("Words", "counter", "Count", (("Level", "Model"),), 1.0)
    metrics.go_on.set()
    sink.finish()
    assert metrics.values == {"Words": 1000}
    # Each question takes longer than a prediction: there are some ten in a second.
    assert metrics.asked < 500


def test_a_sink_that_was_never_used_has_nothing_to_wait_for() -> None:
    MetricsSink(_Metrics()).finish()
    MetricsSink(None).finish()
