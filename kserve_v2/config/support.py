"""Parts of the schema that the server does not act on: refused where that changes answers, else ignored."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config.platforms import ENSEMBLE_PLATFORM
from kserve_v2.config.problems import Problem


def unsupported_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield the features that are asked for and not served."""
    for path in _unsupported_fields(config):
        yield Problem(path, "not supported yet")


def ignored_fields(config: ModelConfig) -> list[Problem]:
    """Return the fields that are set and have no effect, which is harmless: for a warning."""
    fields = {
        "runtime": bool(config.runtime),
        "cc_model_filenames": bool(config.cc_model_filenames),
        "model_warmup": bool(config.model_warmup),
        "model_operations": config.HasField("model_operations"),
        "model_metrics": config.HasField("model_metrics"),
    }
    for index, group in enumerate(config.instance_group):
        fields[f"instance_group[{index}].profile"] = bool(group.profile)
        fields[f"instance_group[{index}].host_policy"] = bool(group.host_policy)
    return [Problem(path, "is set but has no effect") for path, is_set in fields.items() if is_set]


def _unsupported_fields(config: ModelConfig) -> Iterator[str]:
    fields = {
        "platform": config.platform == ENSEMBLE_PLATFORM and not config.HasField("ensemble_scheduling"),
        "sequence_batching": config.HasField("sequence_batching"),
        "ensemble_scheduling": config.HasField("ensemble_scheduling"),
        "batch_input": bool(config.batch_input),
        "batch_output": bool(config.batch_output),
        "response_cache.enable": config.response_cache.enable,
        "model_repository_agents": bool(config.model_repository_agents.agents),
        "dynamic_batching.preserve_ordering": config.dynamic_batching.preserve_ordering,
        "dynamic_batching.priority_levels": config.dynamic_batching.priority_levels > 0,
        "dynamic_batching.priority_queue_policy": bool(config.dynamic_batching.priority_queue_policy),
    }
    yield from (path for path, asked in fields.items() if asked)
    yield from _unsupported_tensor_fields(config)
    for index, group in enumerate(config.instance_group):
        yield from _unsupported_group_fields(group, f"instance_group[{index}]")


def _unsupported_tensor_fields(config: ModelConfig) -> Iterator[str]:
    for index, tensor in enumerate(config.input):
        if tensor.allow_ragged_batch:
            yield f"input[{index}].allow_ragged_batch"
        if tensor.is_shape_tensor:
            yield f"input[{index}].is_shape_tensor"
    for index, output in enumerate(config.output):
        if output.is_shape_tensor:
            yield f"output[{index}].is_shape_tensor"


def _unsupported_group_fields(group: ModelInstanceGroup, path: str) -> Iterator[str]:
    if group.kind == ModelInstanceGroup.KIND_MODEL:
        yield f"{path}.kind"
    if group.HasField("rate_limiter"):
        yield f"{path}.rate_limiter"
    if group.secondary_devices:
        yield f"{path}.secondary_devices"
    if group.passive:
        yield f"{path}.passive"
