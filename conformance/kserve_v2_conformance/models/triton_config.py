"""Triton's `config.pbtxt` for a test model, which kserve-v2 reads as well."""

from collections.abc import Iterator

from .catalogue import ModelSpec, QueuePolicy, TensorSpec

LABEL_FILE = "labels.txt"
SEQUENCE_IDLE_US = 10_000_000
MAX_SEQUENCES = 16


def config_text(model: ModelSpec) -> str:
    """The configuration of `model`, for a backend of Python files."""
    return "\n".join(_lines(model)) + "\n"


def _lines(model: ModelSpec) -> Iterator[str]:
    yield 'backend: "python"'
    yield f"max_batch_size: {model.max_batch_size}"
    for tensor in model.inputs:
        yield f"input {{ {_tensor(tensor)}{' optional: true' if tensor.optional else ''} }}"
    for tensor in model.outputs:
        yield f"output {{ {_tensor(tensor)}{_labels(model)} }}"
    yield "instance_group { kind: KIND_CPU count: 1 }"
    yield f'parameters {{ key: "behaviour" value {{ string_value: "{model.behaviour.name}" }} }}'
    if len(model.versions) > 1:
        yield "version_policy { all { } }"
    if model.decoupled:
        yield "model_transaction_policy { decoupled: true }"
    yield from _scheduler(model)


def _tensor(tensor: TensorSpec) -> str:
    datatype = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return f'name: "{tensor.name}" data_type: TYPE_{datatype} dims: {list(tensor.dims)}'


def _labels(model: ModelSpec) -> str:
    return f' label_filename: "{LABEL_FILE}"' if model.labels else ""


def _scheduler(model: ModelSpec) -> Iterator[str]:
    if model.sequential:
        # Not the direct strategy: that fills its batches with requests that belong to no sequence.
        yield "sequence_batching {"
        yield f"  max_sequence_idle_microseconds: {SEQUENCE_IDLE_US}"
        yield f"  oldest {{ max_candidate_sequences: {MAX_SEQUENCES} }}"
        yield "}"
    elif model.queue_policy:
        yield from _queue_policy(model.queue_policy)
    elif model.max_batch_size:
        yield "dynamic_batching { }"


def _queue_policy(policy: QueuePolicy) -> Iterator[str]:
    yield "dynamic_batching {"
    if policy.priority_levels:
        yield f"  priority_levels: {policy.priority_levels}"
        yield f"  default_priority_level: {policy.default_priority_level}"
    yield "  default_queue_policy {"
    yield "    timeout_action: REJECT"
    yield "    allow_timeout_override: true"
    yield f"    default_timeout_microseconds: {policy.default_timeout_us}"
    yield f"    max_queue_size: {policy.max_queue_size}"
    yield "  }"
    yield "}"
