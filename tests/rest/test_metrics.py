"""The text of /metrics, read back by Prometheus' own parser, whatever the names and tags are."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kserve_v2.metrics.registry import MetricsRegistry
from kserve_v2.metrics.text import Family
from kserve_v2.repository.metrics.families import metrics_text
from kserve_v2.scheduling.slices import Slices
from kserve_v2.scheduling.statistics import ModelStatistics

# Whatever a directory's name or a tag can be: text that has a form in UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = [
    'a"b',
    "a\\",
    "\\n",
    'x"} 1\nevil{y="',
    "line\nbreak",
    "\r\n",
    "#",
    " ",
    "{}",
    ",",
    "größe \u2028 \x00 \x7f",
    "",
]


def read_back(family: Family) -> list[tuple[dict[str, str], float]]:
    [found] = text_string_to_metric_families(family.text())
    return [(dict(sample.labels), sample.value) for sample in found.samples]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), st.integers(0, 2**53))
def test_labels_come_back_as_they_were(values: list[tuple[str, str]], number: int) -> None:
    family = Family("nv_inference_count", "counter", "Rows inferred")
    expected = []
    for model, tag in values:
        labels = {"team": tag, "model": model, "version": "1"}
        family.add(labels, number)
        expected.append((labels, float(number)))
    assert read_back(family) == expected


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("label", ["model", "reason", "team"])
def test_hostile_texts(text: str, label: str) -> None:
    family = Family("nv_inference_request_failure", "counter", "Failures")
    family.add({"first": text, label: text}, 7)
    family.add({"first": "x", label: "y"}, 8)
    assert read_back(family) == [({"first": text, label: text}, 7), ({"first": "x", label: "y"}, 8)]


def test_the_metrics_of_many_models_are_written_in_slices() -> None:
    """And what they are does not depend on where they are cut."""
    models: Any = [
        SimpleNamespace(
            name=f"m{number}",
            version=1,
            config=SimpleNamespace(
                metric_tags={}, parameters={}, max_batch_size=4, response_cache=SimpleNamespace(enable=False)
            ),
            statistics=ModelStatistics(),
            depth=number,
            depths=[number],
            processes=(),
            warmed_up=SimpleNamespace(executions=0, seconds=0.0),
            places=0,
            memory=None,
        )
        for number in range(100)
    ]

    def through() -> Slices[None]:
        found.append((yield from metrics_text(models, (), MetricsRegistry())))

    found: list[bytearray] = []
    assert sum(1 for _ in through()) > 10
    waiting = [
        (sample.labels["model"], sample.value)
        for family in text_string_to_metric_families(found[0].decode())
        for sample in family.samples
        if sample.name == "nv_inference_pending_request_count"
    ]
    assert waiting == [(f"m{number}", number) for number in range(100)]
