"""The seam between a model and the models that it asks: an ensemble's steps, and what handlers call."""

from collections.abc import Collection, Mapping
from typing import Protocol

from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.tensors.datatypes import Array


class Lease(Protocol):
    """Holds a loaded version: as long as it does, the version is not closed."""

    def release(self) -> None:
        """It is needed no longer. Called once."""
        ...


class Callee(Protocol):
    """A loaded version of a model, as its callers see it."""

    @property
    def name(self) -> str:
        """The model's."""
        ...

    @property
    def signature(self) -> ModelSignature:
        """What it accepts and gives."""
        ...

    @property
    def decoupled(self) -> bool:
        """Whether it answers a request any number of times."""
        ...

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """The texts of its classes, by output."""
        ...

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Check a request and have it answered; see `Target.submit`. What is submitted needs no lease."""
        ...

    def lease(self) -> Lease:
        """Hold the version, for calls that are still to come."""
        ...


class Caller(Protocol):
    """Whoever knows which models there are. On the event loop's thread alone."""

    def answering(self, request: InferRequest) -> Callee:
        """The version that answers a request, or that is about to go, but has sequences to finish. Valid until the
        caller gives way to the event loop, if it takes no lease. Raises the ServingError of a model, or version, that
        does not answer.
        """
        ...

    async def demand(self, name: str, callers: Collection[str] = ()) -> None:
        """Have a model loaded of which `answering` has said, by a NotLoadedError, that it is not. `callers`: the models
        that wait for that, some of which may execute this to be warmed up. Raises ServingError.
        """
        ...

    def holder(self, callee: Callee, request: InferRequest) -> Callee:
        """The version that holds the sequence of a request, if it says something of one; else `callee`."""
        ...


def request_for(
    outer: InferRequest,
    model_name: str,
    inputs: dict[str, Array],
    *,
    model_version: str = "",
    requested_outputs: tuple[str, ...] = (),
) -> InferRequest:
    """A request to a model that is made on behalf of `outer`: all that says who asks, and how, goes along."""
    made = InferRequest(
        model_name,
        inputs,
        model_version,
        outer.id,
        # The model may write to its own.
        dict(outer.parameters),
        requested_outputs,
        outer.control,
        callers=outer.callers,
    )
    made.logs_failure = outer.logs_failure
    return made
