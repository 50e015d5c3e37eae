"""Validation of a complete configuration: every problem at once, each with the path of its field.

Texts follow Triton's where it has one. Backend names are not checked here: which plug-ins there are is not
the configuration's business.
"""

import logging
import re
from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config.defaults import fill_defaults
from kserve_v2.config.ensemble import ensemble_problems, is_ensemble
from kserve_v2.config.files import file_problems
from kserve_v2.config.home import home_problems
from kserve_v2.config.isolation import isolation_problems
from kserve_v2.config.latency_budget import budget_problems
from kserve_v2.config.limits import limit_problems
from kserve_v2.config.padding import padding_problems
from kserve_v2.config.platforms import BACKEND_OF_PLATFORM, BACKENDS
from kserve_v2.config.problems import Problem, config_error
from kserve_v2.config.queueing import queueing_problems
from kserve_v2.config.ragged import ragged_problems
from kserve_v2.config.release import release_problems
from kserve_v2.config.response_cache import cache_problems
from kserve_v2.config.sequences import sequence_problems
from kserve_v2.config.states import state_problems
from kserve_v2.config.support import ignored_fields, refused_fields
from kserve_v2.config.switches import switch_problems
from kserve_v2.config.tensors import tensor_problems
from kserve_v2.config.warm_up import warm_up_problems

log = logging.getLogger("kserve_v2.config")

NO_GPUS = "no GPUs are available"

# Prometheus' rule for the names of labels; those that begin with two underscores are its own.
_LABEL_NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Labels that the server sets itself, on some metric or other.
_OWN_LABELS = frozenset({"model", "version", "reason", "le", "gpu_uuid", "priority_level"})


def validate(config: ModelConfig, *, gpu_count: int, directory_name: str | None = None) -> list[Problem]:
    """Return all problems of a configuration whose defaults are filled: none if it can be served.

    `gpu_count` is the number of GPUs that the server may use. `directory_name`, where given, must be the
    model's name.
    """
    return [
        *_identity_problems(config, directory_name),
        *_platform_problems(config),
        *ensemble_problems(config),
        *_batching_problems(config),
        *queueing_problems(config),
        *_version_problems(config),
        *tensor_problems(config),
        *state_problems(config),
        *_group_problems(config, gpu_count),
        *_map_problems(config),
        *file_problems(config),
        *limit_problems(config),
        *switch_problems(config),
        *release_problems(config),
        *isolation_problems(config),
        *home_problems(config),
        *cache_problems(config),
        *ragged_problems(config),
        *padding_problems(config),
        *sequence_problems(config),
        *budget_problems(config),
        *warm_up_problems(config),
        *refused_fields(config),
    ]


def written_problems(
    config: ModelConfig, *, gpu_count: int, directory_name: str | None = None
) -> list[Problem]:
    """Return what is wrong with a configuration whatever the backend may still fill in from the model's file.

    `config`: as written, with the backend known; it is not changed.
    """
    filled = ModelConfig()
    filled.CopyFrom(config)
    fill_defaults(filled, gpu_count=gpu_count)
    problems = validate(filled, gpu_count=gpu_count, directory_name=directory_name)
    return [problem for problem in problems if not problem.incomplete]


def raise_if_invalid(config: ModelConfig, *, gpu_count: int, directory_name: str | None = None) -> None:
    """Raise ConfigError with every problem of `validate`; log a warning for each field that has no effect."""
    problems = validate(config, gpu_count=gpu_count, directory_name=directory_name)
    if problems:
        raise config_error(problems)
    for ignored in ignored_fields(config):
        log.warning("model '%s': %s %s", config.name, ignored.path, ignored.message)


def _identity_problems(config: ModelConfig, directory_name: str | None) -> Iterator[Problem]:
    if directory_name is not None and config.name != directory_name:
        yield Problem(
            "name",
            f"unexpected directory name '{directory_name}' for model '{config.name}', "
            "directory name must equal model name",
        )


def _platform_problems(config: ModelConfig) -> Iterator[Problem]:
    backend, platform = config.backend, config.platform
    if is_ensemble(config):
        return
    if not backend and not platform:
        yield Problem("backend", f"must specify 'platform' or 'backend' for '{config.name}'")
    elif not backend:
        yield Problem("platform", f"unexpected platform type '{platform}' for {config.name}")
    elif platform:
        expected = BACKEND_OF_PLATFORM.get(platform)
        strange = expected is None and backend in BACKENDS
        if strange or expected not in {None, backend}:
            yield Problem("platform", f"unexpected 'platform' and 'backend' pair, got:{platform}, {backend}")


def _batching_problems(config: ModelConfig) -> Iterator[Problem]:
    if config.max_batch_size < 0:
        yield Problem("max_batch_size", f"'max_batch_size' must be non-negative value for {config.name}")
    for index, size in enumerate(config.dynamic_batching.preferred_batch_size):
        path = f"dynamic_batching.preferred_batch_size[{index}]"
        if size <= 0:
            yield Problem(path, f"dynamic batching preferred size must be positive for {config.name}")
        elif size > max(config.max_batch_size, 0):
            text = f"dynamic batching preferred size must be <= max batch size for {config.name}"
            yield Problem(path, text, incomplete=config.max_batch_size == 0)


def _version_problems(config: ModelConfig) -> Iterator[Problem]:
    for index, version in enumerate(config.version_policy.specific.versions):
        if version <= 0:
            path = f"version_policy.specific.versions[{index}]"
            yield Problem(path, f"version must be a positive integer, got {version}")


def _group_problems(config: ModelConfig, gpu_count: int) -> Iterator[Problem]:
    for index, group in enumerate(config.instance_group):
        path = f"instance_group[{index}]"
        subject = f"instance group {group.name} of model {config.name}"
        if group.kind not in ModelInstanceGroup.Kind.values():
            yield Problem(f"{path}.kind", f"{subject} has unknown kind {group.kind}")
        if group.count < 0:
            yield Problem(f"{path}.count", f"{subject} must have a positive count, got {group.count}")
        if group.kind == ModelInstanceGroup.KIND_GPU:
            yield from _gpu_problems(group, path, subject, gpu_count)
        elif group.kind == ModelInstanceGroup.KIND_CPU and group.gpus:
            yield Problem(f"{path}.gpus", f"{subject} has kind KIND_CPU but specifies one or more GPUs")


def _gpu_problems(group: ModelInstanceGroup, path: str, subject: str, gpu_count: int) -> Iterator[Problem]:
    if gpu_count == 0:
        yield Problem(f"{path}.kind", f"{subject} has kind KIND_GPU but {NO_GPUS}")
        return
    if not group.gpus:
        yield Problem(f"{path}.gpus", f"{subject} has kind KIND_GPU but specifies no GPUs")
    for index, gpu in enumerate(group.gpus):
        if gpu in group.gpus[:index]:
            yield Problem(f"{path}.gpus[{index}]", f"{subject} specifies gpu id {gpu} twice")
        if not 0 <= gpu < gpu_count:
            available = ", ".join(str(number) for number in range(gpu_count))
            yield Problem(
                f"{path}.gpus[{index}]",
                f"{subject} specifies invalid or unsupported gpu id {gpu}. GPUs of this server: {available}",
            )


def _map_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield the keys of maps that nothing could be done with."""
    for field, keys in (("parameters", config.parameters), ("cc_model_filenames", config.cc_model_filenames)):
        if "" in keys:
            yield Problem(field, "an entry has no key; an entry is written: { key: ... value: ... }")
    for name in config.metric_tags:
        if not _LABEL_NAME.fullmatch(name):
            yield Problem(
                f"metric_tags['{name}']",
                "must be a name of a Prometheus label: letters, digits and underscores, no digit first, and not two "
                "underscores first",
            )
        elif name in _OWN_LABELS:
            yield Problem(f"metric_tags['{name}']", "is a label that the server sets itself")
