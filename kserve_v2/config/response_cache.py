"""What a response cache cannot be in front of."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem

DECOUPLED = "'decoupled' transaction policy"


def cache_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield the problem of a model that asks for a cache and whose answers are not one each, or hang on what came
    before.
    """
    if not config.response_cache.enable:
        return
    if config.model_transaction_policy.decoupled:
        yield no_cache(config, DECOUPLED)
    if config.HasField("sequence_batching"):
        yield no_cache(config, "sequence batching scheduler")


def no_cache(config: ModelConfig, what: str) -> Problem:
    """A response cache is asked for, but cannot be in front of a model with that. The text is Triton's."""
    return Problem(
        "response_cache.enable",
        f"Response Cache does not currently support model {config.name} with {what}. "
        "Please disable the response cache.",
    )
