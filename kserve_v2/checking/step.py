"""A version that could be loaded, as the ensembles see it that have it as a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.calling.caller import Lease
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.target import Reply, Ticket


@dataclass(frozen=True, slots=True)
class StepVersion:
    """It is only looked at."""

    name: str
    signature: ModelSignature
    decoupled: bool
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Nobody asks it."""
        raise NotImplementedError

    def lease(self) -> Lease:
        """Nobody asks it."""
        raise NotImplementedError
