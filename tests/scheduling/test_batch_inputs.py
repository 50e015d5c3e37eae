"""The values of `batch_input`, from what a real Triton gives its models."""

import numpy as np
import pytest

from kserve_v2._generated.model_config_pb2 import BatchInput
from kserve_v2.errors import InternalError
from kserve_v2.scheduling.merging.batch_inputs import MadeInput
from kserve_v2.tensors.datatypes import FP32, INT32, Datatype

# Two requests with 3 and 2 elements, of one row each; and as the schema's example has it, a request of two rows of
# [3, 1] and one of one row of [2, 2].
PLAIN = [(1, 3), (1, 2)]
NESTED = [(2, 3, 1), (1, 2, 2)]


@pytest.mark.parametrize("datatype", [FP32, INT32], ids=["FP32", "INT32"])
@pytest.mark.parametrize(
    ("kind", "shapes", "expected"),
    [
        ("BATCH_ELEMENT_COUNT", PLAIN, [3, 2]),
        ("BATCH_ELEMENT_COUNT", NESTED, [6, 4]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT", PLAIN, [3, 5]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT", NESTED, [6, 10]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", PLAIN, [0, 3, 5]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", NESTED, [0, 6, 10]),
        ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", PLAIN, [0, 0, 0]),
        ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", NESTED, [0] * 6),
        ("BATCH_ITEM_SHAPE", PLAIN, [[3], [2]]),
        ("BATCH_ITEM_SHAPE", NESTED, [[3, 1], [3, 1], [2, 2]]),
        ("BATCH_ITEM_SHAPE_FLATTEN", PLAIN, [3, 2]),
        ("BATCH_ITEM_SHAPE_FLATTEN", NESTED, [3, 1, 3, 1, 2, 2]),
    ],
)
def test_values(kind: str, shapes: list[tuple[int, ...]], expected: list[object], datatype: Datatype) -> None:
    value = MadeInput("T", "X", BatchInput.Kind.Value(kind), datatype).value(shapes)
    assert value.dtype == datatype.dtype
    assert value.tolist() == expected
    assert value.shape == np.array(expected).shape


def test_a_size_that_does_not_fit_is_an_error_and_no_other_number() -> None:
    made = MadeInput("T", "X", BatchInput.BATCH_ACCUMULATED_ELEMENT_COUNT, INT32)
    with pytest.raises(InternalError, match="input 'T': the sizes of the batch do not fit INT32"):
        made.value([(1, 2**30), (1, 2**30)])
