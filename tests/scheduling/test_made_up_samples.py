"""Which samples are made up for a model that has none of its own."""

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.scheduling.executing.made_up_samples import COUNT, made_up_samples
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.sequences.rules import sequence_rules
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec

MERGED = BatchRules(max_rows=8, preferred_rows=frozenset({2, 6}))
SEQUENCES = "sequence_batching { oldest { preferred_batch_size: [ 2 ] } }"


def spec_of(text: str, *, decoupled: bool = False) -> ModelSpec:
    config = text_format.Parse(text, ModelConfig(name="m"))
    signature = ModelSignature(config)
    return ModelSpec(
        signature, "1", (Placement("m_0", "CPU"),), RowMerger(signature),
        decoupled=decoupled, sequences=sequence_rules(config),
    )  # fmt: skip


def fixed(most: int, dims: int = 3) -> str:
    return f'max_batch_size: {most} input {{ name: "x" data_type: TYPE_FP32 dims: [ {dims} ] }}'


@pytest.mark.parametrize(
    ("text", "rules", "decoupled", "expected"),
    [
        # Requests of a row each where they are merged, or belong to sequences.
        (fixed(8), MERGED, False, [(1, 1), (2, 1), (6, 1), (8, 1)]),
        (fixed(8) + SEQUENCES, ONE_AT_A_TIME, False, [(1, 1), (8, 1)]),
        # Rows of one request where they are not.
        (fixed(8), ONE_AT_A_TIME, False, [(1, 1), (1, 8)]),
        (fixed(1), ONE_AT_A_TIME, False, [(1, 1)]),
        # No batches.
        (fixed(0), ONE_AT_A_TIME, False, [(1, 1)]),
        (fixed(8), ONE_AT_A_TIME, True, [(1, 1)]),
        # Rules that are left from a larger model say nothing.
        (fixed(4), BatchRules(max_rows=4, preferred_rows=frozenset({6})), False, [(1, 1), (4, 1)]),
        # Shapes that are not known, too large ones, and nothing to make up.
        (fixed(8, -1), MERGED, False, []),
        (fixed(8, 2**24), MERGED, False, [(1, 1)]),
        (fixed(8, 2**25), MERGED, False, []),
        ("max_batch_size: 8", MERGED, False, []),
    ],
)
def test_requests_and_rows(
    text: str, rules: BatchRules, decoupled: bool, expected: list[tuple[int, int]]
) -> None:
    samples = made_up_samples(spec_of(text, decoupled=decoupled), rules)
    assert [(sample.requests, sample.rows) for sample in samples] == expected
    assert {sample.count for sample in samples} <= {COUNT}


@pytest.mark.parametrize("kind", ["FP32", "FP16", "BF16", "INT64", "UINT8", "BOOL", "STRING"])
def test_the_samples_are_requests_that_the_model_takes(kind: str) -> None:
    text = f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_{kind} dims: [ 2, 3 ] }}'
    spec = spec_of(text)
    for sample in made_up_samples(spec, ONE_AT_A_TIME):
        array = sample.inputs["x"]
        assert array.shape == (sample.rows, 2, 3)
        assert array.dtype == spec.signature.inputs["x"].datatype.dtype
        if kind == "STRING":
            assert {type(text) for text in array.ravel()} == {bytes}
        else:
            assert np.isfinite(array.astype(np.float64)).all()
