"""A loaded version of an isolated model."""

import logging
import threading
from typing import Any, Protocol

from kserve_v2_child.messages import Kind

from kserve_v2.backend import AnyInstance, ModelSource, Placement
from kserve_v2.config.isolation import Isolation
from kserve_v2.isolation.instances import (
    IsolatedInstance,
    IsolatedSeparateInstance,
    IsolatedStreamInstance,
    Link,
)
from kserve_v2.isolation.process import ModelProcess

logger = logging.getLogger(__name__)

Json = dict[str, Any]

# What is left to a model to be closed in.
_CLOSE_S = 30.0


class Home(Protocol):
    """Where processes are started."""

    def start(self, model: str) -> ModelProcess:
        """Start one."""
        ...


class IsolatedModel:
    """Its instances are spread over its processes."""

    def __init__(
        self, process: ModelProcess, source: ModelSource, told: Json, home: Home, isolation: Isolation
    ) -> None:
        """Load it. `process`: the first one. `told`: what each of them is loaded with. Raises what that raises, and
        then `process` is gone.
        """
        self._source = source
        self._told = told
        self._home = home
        self._isolation = isolation
        self._lock = threading.Lock()
        count = isolation.processes or max(1, len(source.placements))
        self._processes: list[ModelProcess | None] = [None] * min(count, max(1, len(source.placements)))
        try:
            loaded = process.ask(Kind.LOAD, told).fields
        except BaseException:
            process.kill("has not loaded its model")
            raise
        self._processes[0] = process
        self.separates_requests = loaded["separates_requests"]
        if loaded["output_labels"] is not None:
            self.output_labels = loaded["output_labels"]
        self._has_trial_instances = loaded["trial_instances"]

    def instance(self, placement: Placement) -> AnyInstance:
        """Make an instance in its process."""
        made = self._make(placement, trial=False)
        assert made is not None  # noqa: S101 - only trial instances may be None
        return made

    def trial_instance(self, placement: Placement) -> AnyInstance | None:
        """Make an instance for the trial alone, if the model has such."""
        return self._make(placement, trial=True) if self._has_trial_instances else None

    def close(self) -> None:
        """Close the model in each of its processes, and end them."""
        for process in self._processes:
            if process is not None:
                process.stop(_CLOSE_S)

    def _make(self, placement: Placement, *, trial: bool) -> AnyInstance | None:
        process = self._process_of(placement)
        told = {
            "model": self._source.name,
            "placement": (placement.name, placement.kind, placement.device_id),
            "order": ("execute_async", "execute"),
            "trial": trial,
        }
        work, made = process.instance(told)
        if made.get("none"):
            work.close()
            return None
        link = Link(process, work, self._isolation.timeout_s)
        if "stream" in made["kinds"]:
            return IsolatedStreamInstance(link)
        return IsolatedSeparateInstance(link) if self.separates_requests else IsolatedInstance(link)

    def _process_of(self, placement: Placement) -> ModelProcess:
        index = self._source.placements.index(placement) % len(self._processes)
        process = self._processes[index]
        if process is None:
            process = self._home.start(self._source.name)
            process.ask(Kind.LOAD, self._told)
            self._processes[index] = process
        return process
