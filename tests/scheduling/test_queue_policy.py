"""Which queue a request waits in, and how long it may: tables of what Triton does, and where this server does better."""

import pytest

from kserve_v2.config import parse_config
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.queueing.levels import ONE_LEVEL, PriorityLevels, QueuePolicy, priority_levels


def asking(**control: int) -> InferRequest:
    return InferRequest("m", {}, control=dict(control))


@pytest.mark.parametrize(
    ("default_us", "allowed", "wanted_us", "expected_us"),
    [
        (0, False, 0, 0),
        (0, False, 500, 0),
        (0, True, 0, 0),
        (0, True, 500, 500),  # no time-out of the model's stands for ever, which a request may shorten
        (1000, False, 500, 1000),
        (1000, False, 0, 1000),
        (1000, True, 0, 1000),
        (1000, True, 500, 500),
        (1000, True, 5000, 1000),
        (1000, True, 2**64 - 1, 1000),
    ],
)
def test_time_outs(default_us: int, allowed: bool, wanted_us: int, expected_us: int) -> None:
    policy = QueuePolicy(timeout_us=default_us, allow_override=allowed)
    assert policy.timeout_for(asking(timeout=wanted_us)) == expected_us
    if not wanted_us:
        assert policy.timeout_for(asking()) == expected_us


@pytest.mark.parametrize(
    ("priority", "level"), [(1, 1), (2, 2), (3, 3), (0, 2), (None, 2), (4, 2), (9, 2), (2**64 - 1, 2)]
)
def test_levels(priority: int | None, level: int) -> None:
    levels = PriorityLevels((QueuePolicy(),) * 3, default=1)
    request = asking() if priority is None else asking(priority=priority)
    assert levels.level_of(request) == level - 1


@pytest.mark.parametrize("priority", [0, 1, 2, 9])
def test_without_levels_a_priority_means_nothing(priority: int) -> None:
    assert ONE_LEVEL.level_of(asking(priority=priority)) == 0


def levels_of(batching: str) -> PriorityLevels:
    return priority_levels(parse_config(f"max_batch_size: 4 {batching}", "config.pbtxt"))


def test_a_model_without_dynamic_batching_has_no_limits() -> None:
    assert levels_of("") == levels_of("dynamic_batching {}") == ONE_LEVEL


def test_levels_without_a_policy_of_their_own_have_the_default_one_each() -> None:
    levels = levels_of(
        """dynamic_batching { priority_levels: 3 default_priority_level: 2
             default_queue_policy { max_queue_size: 5 timeout_action: DELAY default_timeout_microseconds: 7 }
             priority_queue_policy { key: 1 value { max_queue_size: 1 allow_timeout_override: true } } }"""
    )
    default = QueuePolicy(max_size=5, timeout_us=7, reject=False)
    assert levels == PriorityLevels(
        (QueuePolicy(max_size=1, allow_override=True), default, default), default=1
    )
    assert levels.sizes == (1, 5, 5)


def test_policies_of_levels_without_levels_have_no_effect() -> None:
    levels = levels_of(
        """dynamic_batching { default_priority_level: 3 default_queue_policy { max_queue_size: 5 }
             priority_queue_policy { key: 2 value { max_queue_size: 1 } } }"""
    )
    assert levels == PriorityLevels((QueuePolicy(max_size=5),))


def test_where_order_is_kept_a_requests_own_time_out_delays_nothing() -> None:
    """Or it would have to be answered in front of those that it was put behind."""
    policy = "default_queue_policy { timeout_action: %s allow_timeout_override: true }"
    delayed, refused = (
        levels_of(f"dynamic_batching {{ preserve_ordering: true {policy % action} }}")
        for action in ("DELAY", "REJECT")
    )
    assert not delayed.policies[0].allow_override
    assert refused.policies[0].allow_override
