"""Merging requests and splitting answers."""

import numpy as np
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.scheduling.merging.rows import concatenate, split_rows
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


def signature(max_batch_size: int = 8) -> ModelSignature:
    text = f"""
        name: "m" max_batch_size: {max_batch_size}
        output [{{ name: "first" data_type: TYPE_INT32 dims: [2] }}, {{ name: "second" data_type: TYPE_STRING
        dims: [1] }}]
    """
    return ModelSignature(text_format.Parse(text, ModelConfig()))


def outputs(rows: int) -> dict[str, Array]:
    texts = np.empty((rows, 1), dtype=np.object_)
    texts[:, 0] = [b"%d" % n for n in range(rows)]
    return {"second": texts, "first": np.arange(2 * rows, dtype=np.int32).reshape(rows, 2)}


def test_merge_and_split_are_inverse() -> None:
    parts = [np.full((rows, 3), rows, np.float32) for rows in (1, 4, 2)]
    merged = concatenate([{"x": part} for part in parts], [1, 4, 2])
    assert merged["x"].shape == (7, 3)
    cut = split_rows(merged, [1, 4, 2])
    assert [part["x"].tolist() for part in cut] == [part.tolist() for part in parts]
