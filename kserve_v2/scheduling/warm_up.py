"""What a version executes before it is ready: the samples of its configuration, or made-up ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kserve_v2.tensors.datatypes import Array


@dataclass(frozen=True, slots=True)
class Sample:
    """`requests` of these inputs, of so many `rows` each, that are executed together, `count` times. `hidden`: inputs
    that the server makes itself otherwise, such as the controls of sequences; with a batch dimension, if the model
    batches.
    """

    name: str
    inputs: Mapping[str, Array]
    requests: int = 1
    rows: int = 1
    count: int = 1
    hidden: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The `samples` of a configuration: one that fails means that the load has failed. `automatic`: where there are
    none, as many as can be made up, whose failures say nothing.
    """

    samples: tuple[Sample, ...] = ()
    automatic: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.samples) or self.automatic


@dataclass(slots=True)
class WarmedUp:
    """What was done of that, apart from what clients' requests are counted by: executions, and seconds from the first
    one's beginning to the end of the last.
    """

    executions: int = 0
    seconds: float = 0.0
