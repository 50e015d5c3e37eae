"""Quantiles from buckets, against those of the values themselves."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.bench.histogram import QUANTILES, RELATIVE_ERROR, Histogram, merged

VALUES = st.lists(st.one_of(st.integers(0, 1000), st.integers(0, 2**40), st.integers(0, 2**53)), min_size=1)


def exact(values: list[int], share: float) -> int:
    """The least value that this share of all do not exceed."""
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


@given(VALUES, st.one_of(st.sampled_from([*QUANTILES.values()]), st.floats(0, 1)))
def test_quantiles_are_as_exact_as_they_are_said_to_be(values: list[int], share: float) -> None:
    right = exact(values, share)
    assert abs(Histogram(values).quantile(share) - right) <= RELATIVE_ERROR * right


@given(VALUES)
def test_least_largest_mean_and_count_are_exact(values: list[int]) -> None:
    histogram = Histogram(values)
    assert (histogram.least, histogram.largest, histogram.count) == (min(values), max(values), len(values))
    assert histogram.sum == sum(values)
    assert histogram.mean == sum(values) / len(values)
    assert histogram.quantile(1) == max(values)


@given(VALUES, VALUES)
def test_merged_ones_are_those_of_all_values(first: list[int], second: list[int]) -> None:
    both, whole = merged([Histogram(first), Histogram(), Histogram(second)]), Histogram(first + second)
    assert both.quantiles() == whole.quantiles()
    assert (both.least, both.largest, both.count, both.sum) == (
        whole.least, whole.largest, whole.count, whole.sum,
    )  # fmt: skip


def test_memory_is_bounded_by_the_size_of_values_not_by_their_number() -> None:
    histogram = Histogram(range(1_000, 300_000))
    assert histogram.count == 299_000
    # Eight octaves and a bit, of 256 buckets each.
    assert histogram.buckets < 9 * 256 + 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {"p50": 0, "p90": 0, "p95": 0, "p99": 0, "p99.9": 0}),
        ([7], {"p50": 7, "p90": 7, "p95": 7, "p99": 7, "p99.9": 7}),
        (range(1, 101), {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99.9": 100}),
    ],
)
def test_small_ones_by_hand(values: list[int], expected: dict[str, float]) -> None:
    assert Histogram(values).quantiles() == expected
