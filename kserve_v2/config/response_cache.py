"""What a response cache cannot be in front of."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem


def cache_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield the problem of a model that asks for a cache and whose answers are not one each, or hang on what came
    before. The texts are Triton's.
    """
    if not config.response_cache.enable:
        return
    if config.model_transaction_policy.decoupled:
        yield _unsupported(config, "'decoupled' transaction policy")
    if config.HasField("sequence_batching"):
        yield _unsupported(config, "sequence batching scheduler")


def _unsupported(config: ModelConfig, what: str) -> Problem:
    return Problem(
        "response_cache.enable",
        f"Response Cache does not currently support model {config.name} with {what}. "
        "Please disable the response cache.",
    )
