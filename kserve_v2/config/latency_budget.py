"""The parameter `latency_budget_ms`: how long a request may take in all, of which the server makes the most.

Instead of a fixed `max_queue_delay_microseconds` the server chooses the delay itself, from what it measures, so that 99
of 100 requests are answered within the budget; see `scheduling.tuning`.
"""

import math
from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem

LATENCY_BUDGET_MS = "latency_budget_ms"

_PATH = f"parameters['{LATENCY_BUDGET_MS}']"
_MAX_MS = 3_600_000


def latency_budget_ns(config: ModelConfig) -> int:
    """What a valid configuration says, in nanoseconds; 0 if it says nothing."""
    if LATENCY_BUDGET_MS not in config.parameters:
        return 0
    return round(float(config.parameters[LATENCY_BUDGET_MS].string_value) * 1e6)


def budget_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield whatever is wrong with the parameter."""
    if LATENCY_BUDGET_MS not in config.parameters:
        return
    text = config.parameters[LATENCY_BUDGET_MS].string_value
    try:
        budget_ms = float(text)
    except ValueError:
        budget_ms = math.nan
    if not 0 < budget_ms <= _MAX_MS:
        yield Problem(
            _PATH, f"expected milliseconds as string_value, more than 0 and at most {_MAX_MS}, got '{text}'"
        )
    delay_us = config.dynamic_batching.max_queue_delay_microseconds
    if delay_us:
        yield Problem(
            _PATH,
            f"the server chooses the delay itself, but max_queue_delay_microseconds is {delay_us}: leave one of them "
            "out",
        )
    if config.model_transaction_policy.decoupled:
        yield Problem(_PATH, "there are no batches: the model is decoupled")
    elif config.WhichOneof("scheduling_choice") not in (None, "dynamic_batching"):
        yield Problem(_PATH, f"it is for dynamic_batching, not for {config.WhichOneof('scheduling_choice')}")
    elif config.max_batch_size < 2:
        text = f"there are no batches: max_batch_size is {config.max_batch_size}"
        yield Problem(_PATH, text, incomplete=config.max_batch_size == 0)
    elif not config.HasField("dynamic_batching"):
        yield Problem(_PATH, "there are no batches: write dynamic_batching { }", incomplete=True)
