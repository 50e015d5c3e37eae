"""What is legal, and perhaps not meant: where advice is given, and where it would only be a nuisance."""

import pytest
from google.protobuf import text_format

from kserve_v2._generated._pool import POOL
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.checking.unwise import Machine, hidden_versions, unwise
from kserve_v2.config.places import find_places

FREE = 'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } '
FIXED = 'input { name: "x" data_type: TYPE_FP32 dims: [ 1, 4 ] } output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } '
ONNX, TORCH, HANDLER = 'backend: "onnxruntime" ', 'backend: "pytorch" ', 'backend: "python" '
BATCHES = "max_batch_size: 8 "
BATCHER = "dynamic_batching { } "


def threads(name: str, number: int) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{number}" }} }} '


def fields(text: str, *said: str) -> list[str]:
    """Of the advice. The configuration is taken for complete."""
    config = text_format.Parse(text, ModelConfig(), descriptor_pool=POOL)
    return [each.field for each in unwise(config, find_places(text).paths(), Machine(4), said)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONNX + FREE, ["max_batch_size"]),
        (TORCH + FREE, ["max_batch_size"]),
        (HANDLER + FREE, []),
        ("max_batch_size: 0 " + ONNX + FREE, []),
        (ONNX + FIXED, []),
        (ONNX + "sequence_batching { }" + FREE, []),
        (ONNX, []),
        ('platform: "ensemble" ensemble_scheduling { } ' + FREE, []),
        (ONNX + BATCHES, ["max_batch_size"]),
        (HANDLER + BATCHES, ["max_batch_size"]),
        (ONNX + BATCHES + BATCHER, []),
        (ONNX + BATCHES + "sequence_batching { }", []),
        (HANDLER + BATCHES + "model_transaction_policy { decoupled: true }", []),
        (ONNX + "max_batch_size: 1 " + BATCHER, ["dynamic_batching"]),
        (ONNX + "max_batch_size: 1 ", []),
    ],
)
def test_batching(text: str, expected: list[str]) -> None:
    assert fields(text) == expected


def test_what_the_server_says_is_not_said_twice() -> None:
    assert (
        fields(ONNX + FREE, "model 'm': served without a batch dimension: its first dimensions differ") == []
    )
    assert fields(ONNX + BATCHES, "model 'm': requests are not merged: its first dimensions differ") == []
    assert fields(ONNX + FREE, "model 'm': something else") == ["max_batch_size"]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("dynamic_batching { preferred_batch_size: [ 4, 8 ] }", ["dynamic_batching.preferred_batch_size"]),
        ("dynamic_batching { preferred_batch_size: 4 }", ["dynamic_batching.preferred_batch_size"]),
        # Which is what completion writes.
        ("dynamic_batching { preferred_batch_size: 8 }", []),
        ("dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 1 }", []),
        (
            "dynamic_batching { preferred_batch_size: 4 } "
            'parameters { key: "latency_budget_ms" value { string_value: "5" } }',
            [],
        ),
        (
            "sequence_batching { oldest { preferred_batch_size: 2 } }",
            ["sequence_batching.oldest.preferred_batch_size"],
        ),
        ("sequence_batching { oldest { preferred_batch_size: 2 max_queue_delay_microseconds: 1 } }", []),
    ],
)
def test_sizes_that_nothing_waits_for(scheduler: str, expected: list[str]) -> None:
    assert fields(HANDLER + BATCHES + scheduler) == expected


CPUS = "instance_group {{ kind: KIND_CPU count: {} }} "
ONNX_THREADS, TORCH_THREADS = "parameters['intra_op_thread_count']", "parameters['INTRA_OP_THREAD_COUNT']"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Instances of a session are its callers, and share its pool: 3 + 2.
        (ONNX + CPUS.format(2) + threads("intra_op_thread_count", 4), [ONNX_THREADS]),
        (ONNX + CPUS.format(1) + threads("intra_op_thread_count", 4), []),
        (ONNX + CPUS.format(3) + threads("intra_op_thread_count", 2), []),
        (TORCH + CPUS.format(2) + threads("INTRA_OP_THREAD_COUNT", 2), []),
        (TORCH + CPUS.format(3) + threads("INTRA_OP_THREAD_COUNT", 2), [TORCH_THREADS]),
        (HANDLER + CPUS.format(99) + threads("INTRA_OP_THREAD_COUNT", 99), []),
        (
            "instance_group { kind: KIND_GPU gpus: 0 count: 9 } "
            + ONNX
            + threads("intra_op_thread_count", 9),
            [],
        ),
        (ONNX + threads("intra_op_thread_count", 0) + CPUS.format(4), []),
        (ONNX + CPUS.format(5), ["instance_group[0].count"]),
        (ONNX + CPUS.format(2) + CPUS.format(3), ["instance_group[1].count"]),
        (ONNX + CPUS.format(4), []),
    ],
)
def test_threads(text: str, expected: list[str]) -> None:
    assert fields(text) == expected


def test_instances_that_nobody_has_asked_for_are_not_too_many() -> None:
    config = text_format.Parse(ONNX + CPUS.format(2), ModelConfig(), descriptor_pool=POOL)
    assert list(unwise(config, [], Machine(1))) == []


@pytest.mark.parametrize(
    ("served", "empty", "available", "told"),
    [
        (
            (2,),
            (2,),
            (1, 2),
            "version 2, which has no model, is served in the place of version 1, which has one",
        ),
        (
            (3,),
            (2, 3),
            (1, 2, 3),
            "version 3, which has no model, is served in the place of version 1, which has one",
        ),
        (
            (2, 3),
            (2, 3),
            (1, 2, 3),
            "version 2, 3, which has no model, is served in the place of version 1, which has one",
        ),
        ((2,), (1,), (1, 2), ""),
        ((2,), (1, 2), (1, 2), ""),
        ((1, 2), (2,), (1, 2), ""),
        ((), (), (), ""),
    ],
)
def test_versions(
    served: tuple[int, ...], empty: tuple[int, ...], available: tuple[int, ...], told: str
) -> None:
    assert [each.message for each in hidden_versions(served, empty, available)] == ([told] if told else [])
