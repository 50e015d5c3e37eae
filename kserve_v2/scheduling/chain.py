"""The chain of targets that answers for one model: made once, when it is loaded."""

from kserve_v2.scheduling.ordered import OrderedTarget
from kserve_v2.scheduling.queue_target import QueueTarget
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Target


def make_target(spec: ModelSpec, queue: QueueTarget) -> Target:
    """What requests are submitted to: `queue`, behind all that the model's configuration asks for."""
    target: Target = queue
    # Around all others: what is answered without an execution has its place in the order, too.
    if spec.ordered:
        target = OrderedTarget(target)
    return target
