"""The parameter that says which processes of the server have a model: all of them, or one."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config.problems import Problem

HOME = "home"
"""`single`: in one process of the server. `replicated`: in each of them."""

REPLICATED, SINGLE = "replicated", "single"
_HOMES = (REPLICATED, SINGLE)


def asked_home(config: ModelConfig) -> str:
    """What a configuration says; "" for nothing."""
    return config.parameters[HOME].string_value if HOME in config.parameters else ""


def bound_to_one_process(config: ModelConfig) -> Iterator[str]:
    """Yield why a model cannot be in several processes, whatever anybody asks for, as far as its configuration says."""
    if config.HasField("ensemble_scheduling") or config.platform == "ensemble":
        yield "it is an ensemble"
    if config.HasField("sequence_batching"):
        yield "it takes sequences"
    if config.model_transaction_policy.decoupled:
        yield "it is decoupled"
    if any(group.kind == ModelInstanceGroup.KIND_GPU for group in config.instance_group):
        yield "its instances are on a GPU"
    if any(group.rate_limiter.resources for group in config.instance_group):
        yield "its instances share resources with other models"


def home_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield a value that means nothing, and one that asks for what cannot be."""
    if HOME not in config.parameters:
        return
    asked, path = asked_home(config), f"parameters['{HOME}']"
    if asked not in _HOMES:
        yield Problem(path, f"expected '{SINGLE}' or '{REPLICATED}' as string_value, got '{asked}'")
    elif asked == REPLICATED:
        yield from (cannot_be_replicated(why) for why in bound_to_one_process(config))


def cannot_be_replicated(why: str) -> Problem:
    """It was asked for, but cannot be."""
    return Problem(f"parameters['{HOME}']", f"cannot be '{REPLICATED}': {why}")
