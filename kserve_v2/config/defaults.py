"""What the server fills in where the configuration says nothing.

Two steps, because a backend completes the configuration from its model file in between: `infer_backend`
finds out which backend that is, `fill_defaults` adds the rest. Both change nothing that is set.
"""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config.ensemble import is_ensemble
from kserve_v2.config.platforms import choose_format, lone_file

# Begins with a letter: `resnet-1.5` names no backend "5".
_BACKEND_AT_END = re.compile(r"\.([A-Za-z]\w*)$")
# Triton runs two instances of these on the CPU unless told otherwise.
_TWO_CPU_INSTANCES = frozenset({"onnxruntime", "tensorflow"})


def infer_backend(config: ModelConfig, name: str, version_files: Collection[str]) -> None:
    """Fill `name`, `backend`, `platform` and `default_model_filename`.

    `name` is the model's directory; `version_files` are the names of the files and directories in the
    directory of the version to be loaded. What cannot be inferred stays empty, for `validate` to report.
    """
    config.name = config.name or name
    if is_ensemble(config):
        return
    chosen = choose_format(config.backend, config.platform, config.default_model_filename, version_files)
    if chosen is None:
        _infer_third_party_backend(config, version_files)
        return
    config.backend = config.backend or chosen.backend
    config.platform = config.platform or chosen.platform
    if not config.default_model_filename:
        usual = chosen.filename in version_files
        other = None if usual else lone_file(chosen, version_files)
        config.default_model_filename = other or chosen.filename


def fill_defaults(config: ModelConfig, *, gpu_count: int, backend_supports_gpu: bool = True) -> None:
    """Fill version policy, optimization, preferred batch sizes and instance groups, as Triton does.

    `gpu_count` is the number of GPUs that the server may use. Automatic placement
    takes them if the backend can.
    """
    fill_version_policy(config)
    if is_ensemble(config):
        return
    _fill_optimization(config)
    _fill_batch_sizes(config)
    _fill_sequences(config)
    if not config.instance_group:
        config.instance_group.add(name=config.name)
    for index, group in enumerate(config.instance_group):
        group.name = group.name or f"{config.name}_{index}"
        _fill_instance_group(group, config.backend, gpu_count if backend_supports_gpu else 0)


def fill_version_policy(config: ModelConfig) -> None:
    """Serve the highest version, unless something else is written."""
    if config.version_policy.WhichOneof("policy_choice") is None:
        config.version_policy.latest.num_versions = 1


def _infer_third_party_backend(config: ModelConfig, version_files: Collection[str]) -> None:
    """Take the backend from a file `model.<backend>`, else from a model name `<name>.<backend>`."""
    if config.platform:
        return
    if not config.backend and not config.default_model_filename:
        extensions = [PurePosixPath(file).suffix[1:] for file in version_files if file.startswith("model.")]
        of_name = _BACKEND_AT_END.search(config.name)
        if len(extensions) == 1:
            config.backend = extensions[0]
        elif of_name:
            config.backend = of_name[1]
    own_file = f"model.{config.backend}"
    if config.backend and not config.default_model_filename and own_file in version_files:
        config.default_model_filename = own_file


def _fill_optimization(config: ModelConfig) -> None:
    optimization = config.optimization
    optimization.SetInParent()
    if not optimization.HasField("input_pinned_memory"):
        optimization.input_pinned_memory.enable = True
    if not optimization.HasField("output_pinned_memory"):
        optimization.output_pinned_memory.enable = True


def _fill_batch_sizes(config: ModelConfig) -> None:
    if config.HasField("dynamic_batching") and config.max_batch_size > 0:
        batching = config.dynamic_batching
        if not batching.preferred_batch_size:
            batching.preferred_batch_size.append(config.max_batch_size)


def _fill_sequences(config: ModelConfig) -> None:
    if not config.HasField("sequence_batching"):
        return
    batching = config.sequence_batching
    batching.max_sequence_idle_microseconds = batching.max_sequence_idle_microseconds or 1_000_000
    oldest = batching.oldest
    if batching.HasField("oldest") and config.max_batch_size > 0 and not oldest.preferred_batch_size:
        oldest.preferred_batch_size.append(config.max_batch_size)


def _fill_instance_group(group: ModelInstanceGroup, backend: str, gpu_count: int) -> None:
    """Settle where the instances of one group run, and how many there are."""
    if group.kind == ModelInstanceGroup.KIND_AUTO:
        group.kind = ModelInstanceGroup.KIND_GPU if gpu_count else ModelInstanceGroup.KIND_CPU
    if group.kind == ModelInstanceGroup.KIND_GPU and not group.gpus:
        group.gpus.extend(range(gpu_count))
    if group.count == 0:
        on_cpu = group.kind == ModelInstanceGroup.KIND_CPU
        group.count = 2 if on_cpu and backend in _TWO_CPU_INSTANCES else 1
