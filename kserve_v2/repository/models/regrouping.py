"""Other instance groups for a version that is loaded: whether it can have them, and what they are."""

from kserve_v2.backend import ModelConfig
from kserve_v2.config import raise_if_invalid
from kserve_v2.config.loaded_fields import regrouped
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.plugins import BackendRegistry


def regroup(
    shown: ModelConfig, was: ModelConfig, written: ModelConfig, registry: BackendRegistry
) -> tuple[ModelConfig, int]:
    """The complete configuration with the groups that are written now, and how many GPUs it is for. `shown`: as it is.
    `was`: what was written when that was loaded. Blocks: it counts GPUs. Raises InvalidArgumentError where that takes a
    load, or cannot be.
    """
    if not shown.backend:
        raise InvalidArgumentError("it has no instances")
    gpu_count = registry.get(shown.backend).gpu_count()
    config = regrouped(shown, was, written, gpu_count)
    if config is None:
        raise InvalidArgumentError("the model itself has said something of them")
    raise_if_invalid(config, gpu_count=gpu_count, directory_name=shown.name)
    return config, gpu_count
