"""Which fields of a configuration a version has to be loaded again for, and which not.

A field that is not named here is one that a load goes by: a new one of the schema, or one of which only some backends
make something, must not be passed over.
"""

import hashlib

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.defaults import fill_defaults, fill_version_policy


def what_a_load_goes_by(config: ModelConfig) -> str:
    """Changes with all that a load goes by, and with nothing else."""
    relevant = ModelConfig()
    relevant.CopyFrom(config)
    # It says which versions are served, and nothing of how one is.
    relevant.ClearField("version_policy")
    # How many instances there are is changed while the version is loaded. Where that cannot be, it is loaded again.
    relevant.ClearField("instance_group")
    return hashlib.blake2b(relevant.SerializeToString(deterministic=True), digest_size=16).hexdigest()


def regrouped(
    shown: ModelConfig, was: ModelConfig, written: ModelConfig, gpu_count: int
) -> ModelConfig | None:
    """The complete configuration of a loaded version with other instance groups: those that are written now. `was`:
    what was written when it was loaded. None if they cannot be told without a load, because its groups were not made of
    what was written alone.
    """
    made = _with_groups(shown, was, gpu_count)
    if list(made.instance_group) != list(shown.instance_group):
        return None
    return _with_groups(shown, written, gpu_count)


def _with_groups(shown: ModelConfig, written: ModelConfig, gpu_count: int) -> ModelConfig:
    config = ModelConfig()
    config.CopyFrom(shown)
    config.ClearField("instance_group")
    config.instance_group.extend(written.instance_group)
    fill_defaults(config, gpu_count=gpu_count)
    return config


def adopt(shown: ModelConfig, written: ModelConfig) -> ModelConfig:
    """The complete configuration of a loaded version, as it is to be shown once the written one has changed in what no
    load goes by.
    """
    adopted = ModelConfig()
    adopted.CopyFrom(shown)
    adopted.version_policy.CopyFrom(written.version_policy)
    fill_version_policy(adopted)
    return adopted
