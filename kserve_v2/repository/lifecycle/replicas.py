"""The seam between the life of models and the copies of them that other processes of the server have."""

from typing import Protocol

from kserve_v2.backend import ModelConfig
from kserve_v2.repository.models.executed import ExecutedModel
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.models.spec import Prepared
from kserve_v2.repository.routing.served import Served


class Replicas(Protocol):
    """Those that all other processes have. Lives on the server's event loop.

    A version that is replicated is loaded here first, then there (`prepare`), then requests are given to it everywhere
    (`publish`). What has changed is in force in all processes when `acknowledged` returns, and calls that change
    something are answered only then.
    """

    async def prepare(self, prepared: Prepared, model: ExecutedModel) -> None:
        """Have a version loaded by the others that is loaded here, and not served yet. Raises ServingError if one of
        them cannot; then none has it.
        """
        ...

    def publish(self, name: str, served: Served | None) -> None:
        """What answers requests to a model has changed. None: nothing does that others may go by."""
        ...

    def publish_again(self) -> None:
        """Whether the others may answer for a model may have changed, for any of them."""
        ...

    async def acknowledged(self) -> None:
        """Wait until everything that was published is in force everywhere."""
        ...

    async def change_instances(self, model: LoadedModel, config: ModelConfig) -> None:
        """Have the others give their copies of a version the instances that a complete configuration says. Raises
        ServingError if one of them cannot; then all are as they were.
        """
        ...

    async def close(self, model: LoadedModel, limit_s: float) -> None:
        """Wait until the copies of a version, which nothing is published of any more, have finished what is under way
        in them, as `draining.drain` does, and are closed.
        """
        ...

    async def count(self) -> None:
        """Have everything counted that the others have counted by now."""
        ...

    async def withdraw(self) -> None:
        """Have the others answer no requests any more, and wait until they have finished what is under way."""
        ...


class NoReplicas:
    """That of a server with one process."""

    async def prepare(self, prepared: Prepared, model: ExecutedModel) -> None:
        """There are no others."""

    def publish(self, name: str, served: Served | None) -> None:
        """There are no others."""

    def publish_again(self) -> None:
        """There are no others."""

    async def acknowledged(self) -> None:
        """It is in force."""

    async def change_instances(self, model: LoadedModel, config: ModelConfig) -> None:
        """There are no others."""

    async def close(self, model: LoadedModel, limit_s: float) -> None:
        """There are none."""

    async def count(self) -> None:
        """There are no others."""

    async def withdraw(self) -> None:
        """There are no others."""


NO_REPLICAS = NoReplicas()
