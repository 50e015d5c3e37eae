"""Parameters of a configuration that are the server's own: what Triton's schema has no field for."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem

TRY_BATCHING = "try_batching"
"""`false`: the model is not tried with made-up rows when it is loaded."""

SPLIT_LARGE_REQUESTS = "split_large_requests"
"""What becomes of a request with more rows than `max_batch_size`: `true`, it is executed in parts; `false`, it is
refused. Without it, that depends on who has chosen `max_batch_size`.
"""

COALESCE_REQUESTS = "coalesce_requests"
"""`false`: equal requests at the same time are executed each by itself, although the model has a response cache."""

AUTO_WARMUP = "auto_warmup"
"""Whether made-up inputs are executed before the first request, whatever `--auto-warmup` says."""

PIN = "pin"
"""`true`: the model stays loaded, whatever others need of the memory budget."""

OF_BATCHES = (TRY_BATCHING, SPLIT_LARGE_REQUESTS)
SWITCHES = (*OF_BATCHES, COALESCE_REQUESTS, AUTO_WARMUP, PIN)

_VALUES = {"true": True, "false": False}


def switch(config: ModelConfig, name: str) -> bool | None:
    """What a valid configuration says; None if it says nothing."""
    return _VALUES[config.parameters[name].string_value] if name in config.parameters else None


def switch_or_none(config: ModelConfig, name: str) -> bool | None:
    """What any configuration says; None if it says nothing, or nothing that means anything."""
    return _VALUES.get(config.parameters[name].string_value) if name in config.parameters else None


def switch_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield values that mean nothing, and what is asked of a model that cannot do it."""
    for name in SWITCHES:
        value = config.parameters[name].string_value if name in config.parameters else "false"
        path = f"parameters['{name}']"
        if value not in _VALUES:
            yield Problem(path, f"expected 'true' or 'false' as string_value, got '{value}'")
        elif _VALUES[value] and name in OF_BATCHES:
            if config.model_transaction_policy.decoupled:
                yield Problem(path, "there are no batches: the model is decoupled")
            elif config.max_batch_size == 0:
                yield Problem(path, "there are no batches: max_batch_size is 0", incomplete=True)
