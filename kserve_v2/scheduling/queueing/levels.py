"""How long requests may wait, and how many of them, for each level of priority."""

from dataclasses import dataclass

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelQueuePolicy
from kserve_v2.messages import InferRequest


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """Limits of one queue, with the meaning of Triton's `ModelQueuePolicy`.

    `max_size`: most requests that may wait, 0 for no limit. `timeout_us`: how long one may wait, 0 for ever. `reject`:
    what happens then, an error or a place behind all others. `allow_override`: a request may ask for a shorter time.
    """

    max_size: int = 0
    timeout_us: int = 0
    reject: bool = True
    allow_override: bool = False

    def timeout_for(self, request: InferRequest) -> int:
        """Microseconds that this request may wait, 0 for ever. A request can shorten the model's time-out only."""
        wanted = int(request.control.get("timeout", 0)) if self.allow_override else 0
        if wanted and self.timeout_us:
            return min(wanted, self.timeout_us)
        return wanted or self.timeout_us


@dataclass(frozen=True, slots=True)
class PriorityLevels:
    """A queue for each level of priority, the one that is served first in front. `default`: the index of the level for
    requests that do not ask for one, or for one that does not exist.
    """

    policies: tuple[QueuePolicy, ...] = (QueuePolicy(),)
    default: int = 0

    def level_of(self, request: InferRequest) -> int:
        """The index of the request's level. Clients count from 1."""
        priority = request.control.get("priority", 0)
        if isinstance(priority, int) and 0 < priority <= len(self.policies):
            return priority - 1
        return self.default

    @property
    def several(self) -> bool:
        """Whether priorities make a difference."""
        return len(self.policies) > 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many requests may wait on each level, 0 for any number."""
        return tuple(policy.max_size for policy in self.policies)


ONE_LEVEL = PriorityLevels()


def priority_levels(config: ModelConfig) -> PriorityLevels:
    """The queues that a valid configuration asks for. All of this is part of `dynamic_batching`: a model without that
    has one queue without limits.
    """
    batching = config.dynamic_batching
    default = batching.default_queue_policy
    own = batching.priority_queue_policy
    delays = not batching.preserve_ordering
    return PriorityLevels(
        tuple(
            _policy(own.get(level, default), delays=delays)
            for level in range(1, max(batching.priority_levels, 1) + 1)
        ),
        max(batching.default_priority_level, 1) - 1 if batching.priority_levels else 0,
    )


def _policy(policy: ModelQueuePolicy, *, delays: bool) -> QueuePolicy:
    """`delays`: whether a request may be put behind later ones. If not, its own time-out cannot do that either."""
    reject = policy.timeout_action == policy.REJECT
    return QueuePolicy(
        max_size=policy.max_queue_size,
        timeout_us=policy.default_timeout_microseconds,
        reject=reject,
        allow_override=policy.allow_timeout_override and (reject or delays),
    )
