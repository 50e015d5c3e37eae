"""Numbers that no model can mean, refused with the field and the limit.

The schema's integers go up to 2^64. What is far above any use overflows a clock, a shape or the number of threads
later, where the message would no longer name the field.
"""

from collections.abc import Iterator, Sequence
from math import prod

from kserve_v2._generated.model_config_pb2 import (
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelSequenceBatching,
)
from kserve_v2.config.problems import Problem
from kserve_v2.config.queueing import queue_policies
from kserve_v2.net.limits import MAX_DIMENSIONS

MAX_BATCH_SIZE = 2**24
MAX_INSTANCES = 1024
"""Of one model, on all devices together: each is a thread."""
MAX_QUEUE_DELAY_US = 3_600_000_000
"""An hour. Whoever waits for a batch this long does not want one."""
MAX_TIMEOUT_US = 365 * 24 * MAX_QUEUE_DELAY_US
MAX_ELEMENTS = 2**40
"""Of one row, where its size is fixed."""


def limit_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield every number above its limit."""
    batching = config.dynamic_batching
    yield from _above("max_batch_size", config.max_batch_size, MAX_BATCH_SIZE, "rows")
    yield from _above(
        "dynamic_batching.max_queue_delay_microseconds",
        batching.max_queue_delay_microseconds,
        MAX_QUEUE_DELAY_US,
        "microseconds",
    )
    for path, policy in queue_policies(config):
        yield from _above(
            f"{path}.default_timeout_microseconds",
            policy.default_timeout_microseconds,
            MAX_TIMEOUT_US,
            "microseconds; 0 stands for no time-out",
        )
    yield from _sequence_problems(config.sequence_batching)
    yield from _instance_problems(config)
    batched = config.max_batch_size > 0
    for index, tensor in enumerate(config.input):
        yield from _tensor_problems(f"input[{index}]", tensor, batched)
    for index, output in enumerate(config.output):
        yield from _tensor_problems(f"output[{index}]", output, batched)
    for index, state in enumerate(config.sequence_batching.state):
        yield from _shape_problems(f"sequence_batching.state[{index}].dims", state.dims, batched)


def _above(path: str, value: int, limit: int, unit: str) -> Iterator[Problem]:
    if value > limit:
        yield Problem(path, f"must be at most {limit} {unit}, got {value}")


def _sequence_problems(batching: ModelSequenceBatching) -> Iterator[Problem]:
    for path, value, limit in (
        ("max_sequence_idle_microseconds", batching.max_sequence_idle_microseconds, MAX_TIMEOUT_US),
        (
            "direct.max_queue_delay_microseconds",
            batching.direct.max_queue_delay_microseconds,
            MAX_QUEUE_DELAY_US,
        ),
        (
            "oldest.max_queue_delay_microseconds",
            batching.oldest.max_queue_delay_microseconds,
            MAX_QUEUE_DELAY_US,
        ),
    ):
        yield from _above(f"sequence_batching.{path}", value, limit, "microseconds")


def _instance_problems(config: ModelConfig) -> Iterator[Problem]:
    total = 0
    for index, group in enumerate(config.instance_group):
        count = max(group.count, 1)
        if group.kind == ModelInstanceGroup.KIND_GPU:
            count *= max(len(group.gpus), 1)
        total += count
        if total > MAX_INSTANCES:
            text = f"a model must have at most {MAX_INSTANCES} instances in all, got {total} up to here"
            yield Problem(f"instance_group[{index}].count", text)
            return


def _tensor_problems(path: str, tensor: ModelInput | ModelOutput, batched: bool) -> Iterator[Problem]:
    yield from _shape_problems(f"{path}.dims", tensor.dims, batched)
    yield from _shape_problems(f"{path}.reshape.shape", tensor.reshape.shape, batched)


def _shape_problems(path: str, shape: Sequence[int], batched: bool) -> Iterator[Problem]:
    if len(shape) + batched > MAX_DIMENSIONS:
        yield Problem(path, f"must be at most {MAX_DIMENSIONS - batched} dimensions, got {len(shape)}")
    elif (elements := prod(size for size in shape if size > 0)) > MAX_ELEMENTS:
        yield Problem(path, f"must be at most {MAX_ELEMENTS} elements in all, got {elements}")
