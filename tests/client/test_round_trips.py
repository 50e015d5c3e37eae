"""Tensors of all datatypes and shapes come back as they went, over both protocols and with both kinds of client."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kserve_v2.client import Client
from tests.integration.support import DTYPES, EDGE_VALUES, same

NUMBERS = [name for name in DTYPES if name != "BYTES"]


@pytest.mark.parametrize("datatype", DTYPES)
def test_edge_values_of_each_datatype(client: Any, datatype: str) -> None:
    values = EDGE_VALUES[datatype]
    table = np.stack([values, values])
    assert same(client.infer(f"id_{datatype.lower()}", IN=table)["OUT"], table)
    # One row without the batch dimension, and some with it.
    assert same(client.infer(f"rows_{datatype.lower()}", IN=values)["OUT"], values)
    assert same(client.infer(f"rows_{datatype.lower()}", IN=table)["OUT"], table)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, np.ndarray[Any, Any]]:
    """A datatype, and a table of its values, in any layout in memory."""
    datatype = draw(st.sampled_from(list(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5))
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        array = draw(hnp.arrays(np.object_, shape, elements=st.binary(max_size=9)))
    elif datatype == "BF16":
        array = draw(hnp.arrays(np.uint16, shape)).view(ml_dtypes.bfloat16)
    else:
        array = draw(hnp.arrays(dtype, shape))
    return datatype, draw(st.sampled_from([array, array.T, array[::-1], np.asfortranarray(array)]))


@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_any_table(sync_client: Client, table: tuple[str, np.ndarray[Any, Any]]) -> None:
    datatype, array = table
    assert same(sync_client.infer(f"id_{datatype.lower()}", IN=array)["OUT"], np.ascontiguousarray(array))


@pytest.mark.parametrize("big_endian", ["INT16", "INT64", "FP32", "FP64"])
def test_the_other_order_of_bytes(sync_client: Client, big_endian: str) -> None:
    array = np.array([[1, 2], [3, 4]], DTYPES[big_endian].newbyteorder(">"))
    answer = sync_client.infer(f"id_{big_endian.lower()}", IN=array)["OUT"]
    assert same(answer, array.astype(DTYPES[big_endian]))
