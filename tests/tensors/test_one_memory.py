"""Arrays that are the same memory are equal without a look at it; others are compared."""

import numpy as np
import pytest

from kserve_v2.messages import InferRequest, is_one_memory, same_request
from kserve_v2.tensors.datatypes import Array

BASE = np.arange(12, dtype=np.int32)


class Untouchable(np.ndarray):  # type: ignore[type-arg]
    """Is never copied."""

    def tobytes(self, order: object = "C") -> bytes:
        raise AssertionError("it was copied")


def test_the_same_memory_is_not_compared() -> None:
    left, right = (BASE[2:8].view(Untouchable) for _ in range(2))
    assert same_request(InferRequest("m", {"x": left}, "", ""), InferRequest("m", {"x": right}, "", ""))


@pytest.mark.parametrize(
    ("left", "right", "one", "same"),
    [
        (BASE[:4], BASE[:4].copy(), False, True),
        (BASE[:4], BASE[1:5], False, False),
        (BASE[:4], BASE[:8:2], False, False),
        (BASE[:0], BASE[:0].copy(), None, True),
        (np.zeros(4, np.int32)[::2], np.zeros(2, np.int32), False, True),
    ],
)
def test_other_memory_is_compared(left: Array, right: Array, one: bool | None, same: bool) -> None:
    if one is not None:
        assert is_one_memory(left, right) is one
    requests = [InferRequest("m", {"x": each}, "", "") for each in (left, right)]
    assert same_request(*requests) is same
