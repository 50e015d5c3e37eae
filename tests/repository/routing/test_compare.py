"""How answers of two versions are compared."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kserve_v2.config.release import Shadow, Tolerance
from kserve_v2.repository.routing.compare import Difference, differences

EXACT = Shadow(2, tolerance=Tolerance(0, 0))
NAN, INF = float("nan"), float("inf")


def array(values: Any, dtype: Any = np.float32) -> Any:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "count", "largest"),
    [
        (array([1.0, 2.0]), array([1.0, 2.0]), Tolerance(0, 0), 0, 0.0),
        (array([1.0, 2.0]), array([1.5, 2.25]), Tolerance(0, 0), 2, 0.5),
        (array([1.0, 2.0]), array([1.5, 2.25]), Tolerance(0.25, 0), 1, 0.5),
        (array([1.0, 2.0]), array([1.5, 2.25]), Tolerance(0.5, 0), 0, 0.5),
        (array([100.0]), array([110.0]), Tolerance(0, 0.05), 1, 10.0),
        (array([100.0]), array([110.0]), Tolerance(0, 0.1), 0, 10.0),
        (array([NAN]), array([NAN]), Tolerance(0, 0), 0, 0.0),
        (array([0.0]), array([-0.0]), Tolerance(0, 0), 0, 0.0),
        (array([NAN]), array([1.0]), Tolerance(1e9, 1e9), 1, INF),
        (array([INF]), array([INF]), Tolerance(0, 0), 0, 0.0),
        (array([INF]), array([-INF]), Tolerance(1e9, 1e9), 1, INF),
        (array([INF]), array([1.0]), Tolerance(1e9, 1e9), 1, INF),
        (array([1], np.int64), array([2], np.int64), Tolerance(0.5, 10), 1, 1.0),
        (array([1], np.int64), array([2], np.int64), Tolerance(1, 0), 0, 1.0),
        # As floats these would be equal.
        (array([2**62], np.int64), array([2**62 + 1], np.int64), Tolerance(0, 1), 1, 1.0),
        (array([-(2**63)], np.int64), array([2**63 - 1], np.int64), Tolerance(0, 0), 1, 2.0**64),
        (array([0], np.uint64), array([2**64 - 1], np.uint64), Tolerance(0, 0), 1, 2.0**64),
        (array([-128], np.int8), array([127], np.int8), Tolerance(254, 0), 1, 255.0),
        (array([True, False], np.bool_), array([True, True], np.bool_), Tolerance(0, 0), 1, 1.0),
        (array([1.0], ml_dtypes.bfloat16), array([1.5], ml_dtypes.bfloat16), Tolerance(0, 0), 1, 0.5),
        (array([1.0], np.float16), array([1.0], np.float16), Tolerance(0, 0), 0, 0.0),
    ],
)
def test_numbers(left: Any, right: Any, tolerance: Tolerance, count: int, largest: float) -> None:
    found, apart = differences({"y": left}, {"y": right}, Shadow(2, tolerance=tolerance))
    assert len(found) == bool(count)
    assert apart == {"y": largest}
    if count:
        assert found == [
            Difference("y", largest, f"{count} of {left.size} elements differ, by up to {largest:g}")
        ]


def test_an_empty_output_has_no_differences() -> None:
    assert differences({"y": array([])}, {"y": array([])}, EXACT) == ([], {})


def test_each_output_may_have_a_tolerance_of_its_own() -> None:
    rules = Shadow(2, tolerance=Tolerance(0, 0), outputs={"y": Tolerance(1, 0)})
    given, shadowed = {"x": array([1.0]), "y": array([1.0])}, {"x": array([2.0]), "y": array([2.0])}
    assert [each.output for each in differences(given, shadowed, rules)[0]] == ["x"]


@pytest.mark.parametrize(
    ("given", "shadowed", "why"),
    [
        ({"y": array([1.0])}, {}, "the shadow does not have it"),
        ({}, {"y": array([1.0])}, "only the shadow has it"),
        ({"y": array([1.0])}, {"y": array([[1.0]])}, "float32 [1] here, float32 [1, 1] there"),
        ({"y": array([1.0])}, {"y": array([1], np.int32)}, "float32 [1] here, int32 [1] there"),
        ({"y": array([b"a", b"b"], object)}, {"y": array([b"a", b"c"], object)}, "1 of 2 elements differ"),
    ],
)
def test_what_cannot_be_subtracted(given: Any, shadowed: Any, why: str) -> None:
    assert differences(given, shadowed, EXACT) == ([Difference("y", None, why)], {})


def test_equal_strings() -> None:
    assert differences({"y": array([b"a"], object)}, {"y": array([b"a"], object)}, EXACT) == ([], {})
