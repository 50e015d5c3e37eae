"""The chain of targets that answers for one model: made once, when it is loaded."""

from kserve_v2.scheduling.cached import CachedTarget
from kserve_v2.scheduling.ordered import OrderedTarget
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Target


def make_target(spec: ModelSpec, target: Target) -> Target:
    """What requests are submitted to: `target`, which executes them, behind all that the model's configuration asks
    for.
    """
    if spec.caching is not None:
        target = CachedTarget(target, spec, spec.caching)
    # Around all others: what is answered without an execution has its place in the order, too.
    if spec.ordered:
        target = OrderedTarget(target)
    return target
