"""Validation of queues, priorities and the limits on executions. Texts follow Triton's where it has one."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup, ModelQueuePolicy
from kserve_v2.config.problems import Problem

MAX_PRIORITY_LEVELS = 1024
"""Each level is a queue of its own."""


def queueing_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what is wrong with `dynamic_batching`, but for its numbers, and with `rate_limiter`."""
    yield from _priority_problems(config)
    yield from _ordering_problems(config)
    for index, group in enumerate(config.instance_group):
        yield from _resource_problems(group, f"instance_group[{index}].rate_limiter")
    yield from _mixed_resources(config)


def queueing_without_effect(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield the paths of fields that have no effect as the others are, each with the reason."""
    batching = config.dynamic_batching
    if not batching.priority_levels:
        for field in ("default_priority_level", "priority_queue_policy"):
            if getattr(batching, field):
                yield f"dynamic_batching.{field}", "priority_levels is 0"
    for path, policy in queue_policies(config):
        timed = policy.default_timeout_microseconds or policy.allow_timeout_override
        if policy.timeout_action == ModelQueuePolicy.DELAY and not timed:
            yield (
                f"{path}.timeout_action",
                "no request has a time-out: set default_timeout_microseconds or allow_timeout_override",
            )
    if batching.preserve_ordering:
        for path, policy in queue_policies(config):
            if policy.timeout_action == ModelQueuePolicy.DELAY and policy.allow_timeout_override:
                yield f"{path}.allow_timeout_override", "with preserve_ordering no request is delayed"


def queue_policies(config: ModelConfig) -> Iterator[tuple[str, ModelQueuePolicy]]:
    """Yield every queue policy of a configuration with its path."""
    batching = config.dynamic_batching
    yield "dynamic_batching.default_queue_policy", batching.default_queue_policy
    for level in sorted(batching.priority_queue_policy):
        yield (
            f"dynamic_batching.priority_queue_policy['{level}']",
            batching.priority_queue_policy[level],
        )


def _priority_problems(config: ModelConfig) -> Iterator[Problem]:
    batching = config.dynamic_batching
    levels = batching.priority_levels
    if not levels:
        return
    if levels > MAX_PRIORITY_LEVELS:
        yield Problem(
            "dynamic_batching.priority_levels", f"must be at most {MAX_PRIORITY_LEVELS} levels, got {levels}"
        )
    allowed = f"in range [1, {levels}] for {config.name}"
    if not 1 <= batching.default_priority_level <= levels:
        yield Problem("dynamic_batching.default_priority_level", f"default priority level must be {allowed}")
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            yield Problem(
                f"dynamic_batching.priority_queue_policy['{level}']",
                f"priority queue policy must have priority level {allowed}",
            )


def _ordering_problems(config: ModelConfig) -> Iterator[Problem]:
    batching = config.dynamic_batching
    if not batching.preserve_ordering:
        return
    if batching.priority_levels > 1:
        yield Problem(
            "dynamic_batching.priority_levels",
            f"Only one priority level is allowed when 'preserve_ordering' is true for {config.name}",
        )
    for path, policy in queue_policies(config):
        if policy.timeout_action == ModelQueuePolicy.DELAY and policy.default_timeout_microseconds:
            yield Problem(
                f"{path}.timeout_action",
                "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for "
                f"{config.name}",
            )


def _resource_problems(group: ModelInstanceGroup, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, resource in enumerate(group.rate_limiter.resources):
        at = f"{path}.resources[{index}].name"
        if not resource.name:
            yield Problem(at, f"a resource must have a name in instance group {group.name}")
        elif resource.name in seen:
            yield Problem(at, f"resource '{resource.name}' is listed twice in instance group {group.name}")
        seen.add(resource.name)


def _mixed_resources(config: ModelConfig) -> Iterator[Problem]:
    """Yield the resources that belong to the server and to single devices at the same time."""
    kinds: dict[str, bool] = {}
    told: set[str] = set()
    for group_index, group in enumerate(config.instance_group):
        for index, resource in enumerate(group.rate_limiter.resources):
            name = resource.name
            if kinds.setdefault(name, getattr(resource, "global")) == getattr(resource, "global"):
                continue
            if name in told:
                continue
            told.add(name)
            yield Problem(
                f"instance_group[{group_index}].rate_limiter.resources[{index}].global",
                f'Resource "{name}" is present as both global and device-specific resource in the model '
                "configuration.",
            )
