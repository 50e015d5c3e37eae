"""Which fields of a configuration a version has to be loaded again for, and which not.

A field that is not named here is one that a load goes by: a new one of the schema, or one of which only some backends
make something, must not be passed over.
"""

import hashlib

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.defaults import fill_defaults, fill_version_policy
from kserve_v2.config.release import RELEASE
from kserve_v2.config.switches import PIN, switch_or_none


def what_a_load_goes_by(config: ModelConfig) -> str:
    """Changes with all that a load goes by, and with nothing else."""
    relevant = ModelConfig()
    relevant.CopyFrom(config)
    # It says which versions are served, and nothing of how one is.
    relevant.ClearField("version_policy")
    # How many instances there are is changed while the version is loaded. Where that cannot be, it is loaded again.
    relevant.ClearField("instance_group")
    for name in _of_the_server(config):
        del relevant.parameters[name]
    return hashlib.blake2b(relevant.SerializeToString(deterministic=True), digest_size=16).hexdigest()


def _of_the_server(config: ModelConfig) -> list[str]:
    """The parameters that no model makes anything of, and no part of a load: which version answers, and whether it may
    be unloaded. A value that means nothing is for the load to refuse.
    """
    pins = switch_or_none(config, PIN) is not None
    return [name for name in config.parameters if name == RELEASE or (name == PIN and pins)]


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
    for name in (RELEASE, PIN):
        if name in written.parameters:
            adopted.parameters[name].CopyFrom(written.parameters[name])
        elif name in adopted.parameters:
            del adopted.parameters[name]
    return adopted
