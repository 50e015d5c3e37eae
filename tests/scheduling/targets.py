"""Queue targets and replies for tests."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from kserve_v2.backend import Placement
from kserve_v2.errors import ServingError
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.executing.quickness import Quickness
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits
from kserve_v2.scheduling.merging.rows import Merger, RowMerger
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import OneOutcome, Outcome
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Target, Ticket


def queue_target(
    signature: ModelSignature,
    model: Any,
    rules: BatchRules = ONE_AT_A_TIME,
    policy: QueuePolicy | None = None,
    instances: Sequence[str] = ("instance",),
    *,
    inflight: InflightBytes | None = None,
    quickness: Quickness | None = None,
    decoupled: bool = False,
    levels: PriorityLevels | None = None,
    limiter: RateLimiter | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    merger: Merger | None = None,
    cpus: int = sys.maxsize,
    kind: str = "CPU",
) -> QueueTarget:
    """The target of a model whose instances have these names, each with the same `limits`. `policy`: of its only queue, if
    there are no `levels`. `merger`: by rows by default. `kind`: of device.
    """
    spec = ModelSpec(
        signature,
        "1",
        tuple(Placement(name, kind) for name in instances),
        merger or RowMerger(signature),
        rules,
        PriorityLevels((policy or QueuePolicy(),)) if levels is None else levels,
        decoupled=decoupled,
        limiter=limiter,
        limits=(limits,) * len(instances),
        inflight=inflight or InflightBytes(sys.maxsize),
        cpus=cpus,
    )
    return QueueTarget(spec, model, quickness)


class Told(OneOutcome):
    """Tells `on_outcome` of the outcome."""

    def __init__(self, on_outcome: Callable[[Outcome], object]) -> None:
        self.on_outcome = on_outcome

    def take(self, outcome: Outcome) -> None:
        self.on_outcome(outcome)


NOBODY = Told(lambda _: None)


def submit_to(
    target: Target, request: InferRequest, on_outcome: Callable[[Outcome], object]
) -> Ticket | None:
    """As a front end does: `on_outcome` is told, at once or later. None if the outcome is there already."""
    reply = Told(on_outcome)
    try:
        asked = target.submit(request, reply)
    except ServingError as error:
        on_outcome(error)
        return None
    if isinstance(asked, InferResponse):
        on_outcome(asked)
        return None
    reply.ticket = asked
    return asked
