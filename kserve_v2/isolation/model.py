"""A loaded version of an isolated model."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from kserve_v2_child.channel.messages import Kind

from kserve_v2.backend import AnyInstance, ModelSource, Placement
from kserve_v2.config.isolation import Isolation
from kserve_v2.isolation.async_instances import (
    IsolatedAsyncInstance,
    IsolatedAsyncStreamInstance,
    IsolatedAsyncStreamsInstance,
    IsolatedSeparateAsyncInstance,
)
from kserve_v2.isolation.devices import devices_of, inside
from kserve_v2.isolation.instances import (
    Isolated,
    IsolatedInstance,
    IsolatedSeparateInstance,
    IsolatedStreamInstance,
)
from kserve_v2.isolation.keeper import Keeper, Seat
from kserve_v2.isolation.process import GIVEN_UP, ModelProcess
from kserve_v2.isolation.suspects import Suspects

Json = dict[str, Any]

# What is left to a model to be closed in.
_CLOSE_S = 30.0


def told_placement(placement: Placement) -> tuple[str, str, int]:
    """What a process is told of where an instance runs."""
    return placement.name, placement.kind, placement.device_id


class Home(Protocol):
    """Where processes are started."""

    def start(self, model: str, devices: Sequence[int]) -> ModelProcess:
        """Start one that sees these GPUs."""
        ...


class IsolatedModel:
    """Its instances are spread over its processes. See `RevivesInstances`."""

    def __init__(
        self,
        process: ModelProcess,
        source: ModelSource,
        told: Json,
        home: Home,
        isolation: Isolation,
        *,
        streams: bool,
    ) -> None:
        """Load it. `process`: the first one. `told`: what each of them is loaded with. `streams`: its instances answer
        any number of times. Raises what the load raises, and then `process` is gone.
        """
        # What the others refer to may be looked at for longer than the model is there.
        self._kept, source = source.kept, replace(source, kept=None)
        self._source = source
        # In the order in which the server looks for them.
        self._order = ("streams_async", "stream_async", "stream") if streams else ("execute_async", "execute")
        self._told = told
        self._home = home
        self._suspects = Suspects()
        self._changed: Callable[[Sequence[int], str, str, bool], None] | None = None
        processes = isolation.processes_for(len(source.placements))
        # Of each process, the instances that it has.
        self._placements = [source.placements[number::processes] for number in range(processes)]
        self._keepers = [
            Keeper(
                partial(self._start, number),
                partial(self._tell, number),
                isolation.timeout_s,
                source.outdated,
            )
            for number in range(processes)
        ]
        self._starting = [threading.Lock() for _ in self._keepers]
        # Of each keeper, the process in which the model is being loaded again.
        self._loading: list[ModelProcess | None] = [None] * processes
        self._leaving = False
        self.said_metadata = ""
        loaded = self._load(process, 0)
        self._keepers[0].begin(process)
        self.separates_requests = loaded["separates_requests"]
        if loaded["output_labels"] is not None:
            self.output_labels = loaded["output_labels"]
        self._has_trial_instances = loaded["trial_instances"]
        self.reports_readiness: bool = loaded["reports_readiness"]

    def _load(self, process: ModelProcess, number: int) -> Json:
        process.serve(self._source)
        placements = self._placements[number]
        devices = devices_of(placements)
        seen = [told_placement(inside(each, devices)) for each in placements]
        told = {**self._told, "source": {**self._told["source"], "placements": seen}}
        try:
            loaded: Json = process.ask(Kind.LOAD, told).fields
        except BaseException:
            process.kill("has not loaded its model")
            raise
        return loaded

    def _start(self, number: int) -> ModelProcess:
        process = self._home.start(self._source.name, devices_of(self._placements[number]))
        self._loading[number] = process
        self._source.handover.if_given_up(partial(process.kill, GIVEN_UP))
        if self._leaving:
            process.kill("is not needed")
        self._load(process, number)
        return process

    def is_ready(self) -> bool:
        """Whether the model says that it is, in each of its processes. Raises what that raises."""
        processes = [keeper.process for keeper in self._keepers]
        return all(
            process.ask(Kind.HEALTH, {}).fields["value"] for process in processes if process is not None
        )

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
        number = self._source.placements.index(placement) % len(self._keepers)
        keeper = self._keeper(number)
        told = {
            "model": self._source.name,
            "placement": told_placement(inside(placement, devices_of(self._placements[number]))),
            "order": self._order,
            "trial": trial,
        }
        seat, made = keeper.make(told)
        if made.get("none"):
            keeper.give_up(seat)
            return None
        return self._instance(keeper, seat, made)

    def _instance(self, keeper: Keeper, seat: Seat, made: Json) -> AnyInstance:
        """One that is asked as the model's own may be. Of several ways it is the one that the server prefers."""
        self.said_metadata = made["metadata"] or self.said_metadata
        how = next((kind for kind in self._order if kind in made["kinds"]), "")
        separates = self.separates_requests
        if how == "stream":
            return IsolatedStreamInstance(keeper, seat, self._suspects)
        if how == "execute":
            kind = IsolatedSeparateInstance if separates else IsolatedInstance
            return kind(keeper, seat, self._suspects)
        most, paced = made["max_concurrency"], made["paced"]
        if how == "streams_async":
            return IsolatedAsyncStreamsInstance(keeper, seat, self._suspects, most, paced=paced)
        if how == "stream_async":
            return IsolatedAsyncStreamInstance(keeper, seat, self._suspects, most, paced=paced)
        if how == "execute_async":
            concurrent = IsolatedSeparateAsyncInstance if separates else IsolatedAsyncInstance
            return concurrent(keeper, seat, self._suspects, most, paced=paced)
        # Nobody can drive it. What says so names its type.
        useless: Any = type(made["type"], (Isolated,), {})
        instance: AnyInstance = useless(keeper, seat, self._suspects)
        return instance

    def _keeper(self, number: int) -> Keeper:
        """The keeper of a process, which is started if it is not there yet."""
        keeper = self._keepers[number]
        with self._starting[number]:
            if keeper.process is None:
                keeper.begin(self._start(number))
        return keeper

    # --- processes that die -----------------------------------------------------------------------------------------

    def watch(self, changed: Callable[[Sequence[int], str, str, bool], None]) -> None:
        """Call this whenever a process has died or is there again; see `RevivesInstances.watch`."""
        self._changed = changed
        # What has happened before.
        self._tell(0)

    def _tell(self, number: int) -> None:
        """Something has happened to the process of that number."""
        if self._changed is None:
            return
        keepers, why = self._keepers, self._keepers[number].reason
        down = [keeper for keeper in keepers if not keeper.alive]
        reason = why if len(down) == len(keepers) else ""
        lost = range(number, len(self._source.placements), len(keepers)) if why else ()
        self._changed(lost, why, reason, bool(reason) and all(keeper.failed for keeper in down))

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process: whether it is alive, and how many have died in its place."""
        return [(keeper.alive, keeper.deaths) for keeper in self._keepers]

    @property
    def pids(self) -> Sequence[int]:
        """Of its processes."""
        processes = [keeper.process for keeper in self._keepers]
        return [process.pid for process in processes if process is not None and process.alive]

    def leave(self) -> None:
        """It is about to be closed: start nothing again."""
        self._leaving = True
        for keeper in self._keepers:
            keeper.leave()
        for keeper, process in zip(self._keepers, self._loading, strict=True):
            # Nobody waits for a load that may never end.
            if process is not None and process is not keeper.process:
                process.kill("is not needed")

    def close(self) -> None:
        """Close the model in each of its processes, and end them. Raises what the model raises."""
        errors = []
        for keeper in self._keepers:
            try:
                keeper.close(_CLOSE_S)
            except BaseException as error:  # noqa: BLE001 - the others are to be ended as well
                errors.append(error)
        self._kept = None
        if errors:
            raise errors[0]
