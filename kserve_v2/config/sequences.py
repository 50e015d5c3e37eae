"""Validation of `sequence_batching`, but for implicit state. Texts are Triton's where it has one."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kserve_v2._generated.model_config_pb2 import DataType, ModelConfig, ModelSequenceBatching
from kserve_v2.config.problems import Problem

_Control = ModelSequenceBatching.Control

_PAIRS = ("int32_false_true", "fp32_false_true", "bool_false_true")
_CORRELATION_TYPES = frozenset(
    {
        DataType.TYPE_UINT64,
        DataType.TYPE_INT64,
        DataType.TYPE_UINT32,
        DataType.TYPE_INT32,
        DataType.TYPE_STRING,
    }
)


def sequence_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what is wrong with the strategy and the control inputs."""
    if not config.HasField("sequence_batching"):
        return
    yield from _strategy_problems(config)
    yield from _control_problems(config)


def sequences_without_effect(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield the paths of fields that have no effect as the others are, each with the reason."""
    batching, direct = config.sequence_batching, config.sequence_batching.direct
    yields = config.model_transaction_policy.decoupled and not batching.iterative_sequence
    if yields or config.max_batch_size == 0:
        reason = "max_batch_size is 0" if config.max_batch_size == 0 else "the model is decoupled"
        for strategy in ("direct", "oldest"):
            if getattr(batching, strategy).max_queue_delay_microseconds:
                yield f"sequence_batching.{strategy}.max_queue_delay_microseconds", reason
    elif direct.max_queue_delay_microseconds and not direct.minimum_slot_utilization:
        yield "sequence_batching.direct.max_queue_delay_microseconds", "minimum_slot_utilization is 0"
    elif direct.minimum_slot_utilization and not direct.max_queue_delay_microseconds:
        yield "sequence_batching.direct.minimum_slot_utilization", "max_queue_delay_microseconds is 0"
    for index, entry in enumerate(batching.control_input):
        for number, control in enumerate(entry.control):
            if control.data_type and control.kind != _Control.CONTROL_SEQUENCE_CORRID:
                yield (
                    f"sequence_batching.control_input[{index}].control[{number}].data_type",
                    "the pair of values says what the tensor is; only CONTROL_SEQUENCE_CORRID has a data_type",
                )


def _strategy_problems(config: ModelConfig) -> Iterator[Problem]:
    batching, model = config.sequence_batching, config.name
    if batching.HasField("direct"):
        utilization = batching.direct.minimum_slot_utilization
        # 0 is what it is where nothing is written.
        if not 0 <= utilization <= 1:
            yield Problem(
                "sequence_batching.direct.minimum_slot_utilization",
                f"sequence batching minimum slot utilization must be in range (0.0, 1.0] for {model}",
            )
    if batching.HasField("oldest"):
        oldest = batching.oldest
        if oldest.max_candidate_sequences < 0:
            yield Problem(
                "sequence_batching.oldest.max_candidate_sequences",
                f"must not be negative, got {oldest.max_candidate_sequences}",
            )
        # Without a batch dimension there is nothing to prefer: a configuration may be used with both.
        most = max(config.max_batch_size, 1)
        for index, size in enumerate(oldest.preferred_batch_size):
            path = f"sequence_batching.oldest.preferred_batch_size[{index}]"
            if size <= 0:
                yield Problem(path, f"sequence batching preferred batch size must be positive for {model}")
            elif size > most:
                yield Problem(
                    path,
                    f"sequence batching preferred batch size must be <= max batch size for {model}",
                    incomplete=config.max_batch_size == 0,
                )


def _control_problems(config: ModelConfig) -> Iterator[Problem]:
    kinds: Counter[int] = Counter()
    names: Counter[str] = Counter()
    declared = {tensor.name for tensor in config.input}
    for index, entry in enumerate(config.sequence_batching.control_input):
        path = f"sequence_batching.control_input[{index}]"
        if not entry.name:
            yield Problem(
                f"{path}.name", f"sequence batching control tensor must have a name for {config.name}"
            )
        elif entry.name in declared:
            yield Problem(
                f"{path}.name",
                f"'{entry.name}' is an input that clients send, too: remove it from 'input', the server makes it",
            )
        if not entry.control:
            yield Problem(f"{path}.control", "says nothing: give the kind of control that the tensor is")
        for number, control in enumerate(entry.control):
            names[entry.name] += 1
            kinds[control.kind] += 1
            if entry.name and names[entry.name] == 2:
                yield Problem(
                    f"{path}.name",
                    f"sequence batching control tensor '{entry.name}' is specified for multiple control kinds for "
                    f"{config.name}",
                )
            yield from _kind_problems(control, kinds, f"{path}.control[{number}]", config.name)


def _kind_problems(control: Any, kinds: Counter[int], path: str, model: str) -> Iterator[Problem]:
    if control.kind not in _Control.Kind.values():
        yield Problem(f"{path}.kind", f"there is no kind {control.kind} of controls")
        return
    kind = _Control.Kind.Name(control.kind)
    if kinds[control.kind] == 2:
        yield Problem(f"{path}.kind", f"sequence batching specifies multiple {kind} tensors for {model}")
    given = [name for name in _PAIRS if getattr(control, name)]
    choices = "'int32_false_true', 'fp32_false_true' and 'bool_false_true'"
    if control.kind == _Control.CONTROL_SEQUENCE_CORRID:
        if given:
            yield Problem(
                f"{path}.{given[0]}",
                "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or "
                f"'bool_false_true' for {kind} for {model}",
            )
        if control.data_type not in _CORRELATION_TYPES:
            yield Problem(
                f"{path}.data_type",
                f"unexpected data type for control {kind} for {model}. Allowed data types are TYPE_UINT64, TYPE_INT64, "
                "TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
            )
        return
    if not given:
        yield Problem(
            path,
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for "
            f"{kind} for {model}",
        )
    elif len(given) > 1:
        yield Problem(
            path, f"sequence batching specifies more than one from {choices} for {kind} for {model}"
        )
    for name in given:
        if len(getattr(control, name)) != 2:
            yield Problem(
                f"{path}.{name}",
                f"sequence batching control '{name}' must have exactly 2 entries for {kind} for {model}",
            )
