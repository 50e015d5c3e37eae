"""The chain of targets that answers for one model: made once, when it is loaded."""

from kserve_v2.scheduling.cached import CachedTarget
from kserve_v2.scheduling.queueing.ordered import OrderedTarget
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.sequences.gate import SequenceGate
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Target


def make_target(spec: ModelSpec, target: Target) -> Target:
    """What requests are submitted to: `target`, which executes them, behind all that the model's configuration asks
    for.
    """
    queue = target
    if spec.caching is not None:
        target = CachedTarget(target, spec, spec.caching)
    # Around all others: what is answered without an execution has its place in the order, too.
    if spec.ordered:
        target = OrderedTarget(target)
    # But for sequences: what waits for a slot must not hold up those that have one.
    if spec.sequences is not None and isinstance(queue, QueueTarget):
        target = SequenceGate(spec, spec.sequences, queue, target)
    return target
