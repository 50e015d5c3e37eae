"""The classification extension, against results observed on a real Triton server and the protocol's rules."""

import numpy as np
import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.scheduling.slices import at_once
from kserve_v2.tensors.classification import SLICE_VALUES, classify
from kserve_v2.tensors.datatypes import Array

LABELS = ("cat", "", "bird")


@pytest.mark.parametrize(
    ("array", "count", "batched", "expected"),
    [
        (np.array([[1.0, 2.0, 10.0]], np.float32), 1, True, [["10.000000:2:bird"]]),
        # An empty label is no label; more classes than values gives them all.
        (
            np.array([[1.0, 2.0, 0.0]], np.float32),
            9,
            True,
            [["2.000000:1", "1.000000:0:cat", "0.000000:2:bird"]],
        ),
        (np.array([[5, 5, 5]], np.int32), 3, True, [["5:0:cat", "5:1", "5:2:bird"]]),
        (np.array([[1, 2], [4, 3]], np.int32), 1, True, [["2:1"], ["4:0:cat"]]),
        # Rows are flattened; beyond the labels there are none.
        (np.arange(4, dtype=np.uint8).reshape(1, 2, 2), 2, True, [["3:3", "2:2:bird"]]),
        (np.array([7, 9], np.int64), 1, False, ["9:1"]),
        (np.array([[1.5, 2.5]], np.float16), 1, True, [["2.500000:1"]]),
    ],
)
def test_classes(array: Array, count: int, batched: bool, expected: list[object]) -> None:
    classes = at_once(classify(array, count, LABELS, batched=batched))
    assert np.vectorize(bytes.decode)(classes).tolist() == expected


@pytest.mark.parametrize("array", [np.array([[True]]), np.array([[b"x"]], dtype=np.object_)])
def test_what_has_no_order_is_refused(array: Array) -> None:
    with pytest.raises(
        InvalidArgumentError, match="class result not available for output due to unsupported type"
    ):
        at_once(classify(array, 1, (), batched=True))


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.uint8])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_classes_of_very_many_values(kind: type, count: int) -> None:
    """They are found in slices; many values are equal, and the first ones come first."""
    values = np.random.default_rng(3).integers(0, 200, 3 * SLICE_VALUES + 5).astype(kind)
    slices = classify(values, count, (), batched=False)
    assert next(slices, "slices") is None
    found = [int(text.split(b":")[1]) for text in at_once(slices)]
    assert found == sorted(range(values.size), key=lambda index: (-int(values[index]), index))[:count]


def test_classes_of_very_many_rows() -> None:
    values = np.random.default_rng(4).random((300, 1000), np.float32)
    slices = classify(values, 2, (), batched=True)
    assert sum(1 for _ in slices) > 10
    found = at_once(classify(values, 2, (), batched=True))
    assert [int(row[0].split(b":")[1]) for row in found] == values.argmax(axis=1).tolist()
