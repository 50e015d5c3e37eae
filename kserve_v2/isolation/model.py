"""A loaded version of an isolated model."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kserve_v2_child.messages import Kind

from kserve_v2.backend import AnyInstance, ModelSource, Placement
from kserve_v2.config.isolation import Isolation
from kserve_v2.isolation.instances import IsolatedInstance, IsolatedSeparateInstance, IsolatedStreamInstance
from kserve_v2.isolation.keeper import Keeper
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.suspects import Suspects

Json = dict[str, Any]

# What is left to a model to be closed in.
_CLOSE_S = 30.0


class Home(Protocol):
    """Where processes are started."""

    def start(self, model: str) -> ModelProcess:
        """Start one."""
        ...


class IsolatedModel:
    """Its instances are spread over its processes. See `RevivesInstances`."""

    def __init__(
        self, process: ModelProcess, source: ModelSource, told: Json, home: Home, isolation: Isolation
    ) -> None:
        """Load it. `process`: the first one. `told`: what each of them is loaded with. Raises what that raises, and
        then `process` is gone.
        """
        self._source = source
        self._told = told
        self._home = home
        self._suspects = Suspects()
        self._lock = threading.Lock()
        self._changed: Callable[[str, bool], None] = lambda reason, hopeless: None
        instances = max(1, len(source.placements))
        self._keepers = [
            Keeper(self._start, self._tell, isolation.timeout_s)
            for _ in range(min(isolation.processes or instances, instances))
        ]
        loaded = self._load(process)
        self._keepers[0].begin(process)
        self.separates_requests = loaded["separates_requests"]
        if loaded["output_labels"] is not None:
            self.output_labels = loaded["output_labels"]
        self._has_trial_instances = loaded["trial_instances"]

    def _load(self, process: ModelProcess) -> Json:
        try:
            loaded: Json = process.ask(Kind.LOAD, self._told).fields
        except BaseException:
            process.kill("has not loaded its model")
            raise
        return loaded

    def _start(self) -> ModelProcess:
        process = self._home.start(self._source.name)
        self._load(process)
        return process

    # --- instances --------------------------------------------------------------------------------------------------

    def instance(self, placement: Placement) -> AnyInstance:
        """Make an instance in its process."""
        made = self._make(placement, trial=False)
        assert made is not None  # noqa: S101 - only trial instances may be None
        return made

    def trial_instance(self, placement: Placement) -> AnyInstance | None:
        """Make an instance for the trial alone, if the model has such."""
        return self._make(placement, trial=True) if self._has_trial_instances else None

    def _make(self, placement: Placement, *, trial: bool) -> AnyInstance | None:
        keeper = self._keeper_of(placement)
        told = {
            "model": self._source.name,
            "placement": (placement.name, placement.kind, placement.device_id),
            "order": ("execute_async", "execute"),
            "trial": trial,
        }
        seat, made = keeper.make(told)
        if made.get("none"):
            keeper.give_up(seat)
            return None
        kind: type[IsolatedInstance | IsolatedSeparateInstance | IsolatedStreamInstance]
        if "stream" in made["kinds"]:
            kind = IsolatedStreamInstance
        else:
            kind = IsolatedSeparateInstance if self.separates_requests else IsolatedInstance
        return kind(keeper, seat, self._suspects)

    def _keeper_of(self, placement: Placement) -> Keeper:
        keeper = self._keepers[self._source.placements.index(placement) % len(self._keepers)]
        with self._lock:
            if keeper.process is None:
                keeper.begin(self._start())
        return keeper

    # --- processes that die -----------------------------------------------------------------------------------------

    def watch(self, changed: Callable[[str, bool], None]) -> None:
        """Call this whenever a process has died or is there again; see `RevivesInstances.watch`."""
        self._changed = changed
        # What has happened before.
        self._tell()

    def _tell(self) -> None:
        down = [keeper for keeper in self._keepers if not keeper.alive]
        reason = down[0].reason if len(down) == len(self._keepers) else ""
        self._changed(reason, bool(reason) and all(keeper.failed for keeper in down))

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process: whether it is alive, and how many have died in its place."""
        return [(keeper.alive, keeper.deaths) for keeper in self._keepers]

    def leave(self) -> None:
        """It is about to be closed: start nothing again."""
        for keeper in self._keepers:
            keeper.leave()

    def close(self) -> None:
        """Close the model in each of its processes, and end them. Raises what the model raises."""
        errors = []
        for keeper in self._keepers:
            try:
                keeper.close(_CLOSE_S)
            except BaseException as error:  # noqa: BLE001 - the others are to be ended as well
                errors.append(error)
        if errors:
            raise errors[0]
