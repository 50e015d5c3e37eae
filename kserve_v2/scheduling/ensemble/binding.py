"""A graph with the loaded versions that are its steps now. A request keeps the ones that it has begun with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from kserve_v2.scheduling.calling.caller import Callee
from kserve_v2.scheduling.ensemble.graph import Graph, Plan, plan_for, streams_of
from kserve_v2.scheduling.signature import ModelSignature

# How many choices of outputs are remembered: clients make them up.
_MAX_ROUTES = 64


class Feed(NamedTuple):
    """How an input of a step's model gets its tensor. `rank`: how many dimensions the model wants, 0 where that cannot
    differ. `last`: nobody else needs the tensor.
    """

    name: str
    tensor: str
    rank: int
    last: bool


class Drain(NamedTuple):
    """Where an output of a step's model goes. `shared`: it has several readers, so none of them may write to it."""

    name: str
    tensor: str
    shared: bool


@dataclass(frozen=True, slots=True, eq=False)
class BoundStep:
    """One call of one loaded version. `version`: as the configuration asks for it. `requested`: the outputs to ask for,
    empty for all. `depth`: how many streams it stands behind. `streams`: it is one itself.
    """

    number: int
    callee: Callee
    version: str
    feeds: tuple[Feed, ...]
    drains: tuple[Drain, ...]
    requested: tuple[str, ...]
    depth: int
    streams: bool
    inner: "Binding | None"


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What is done for one choice of outputs. `outputs`: each with the number of dimensions that the ensemble says it
    has. `shared_inputs`: inputs that several steps read. `streams`: how many steps follow each other that answer any
    number of times.
    """

    plan: Plan
    steps: Mapping[int, BoundStep]
    outputs: tuple[tuple[str, int], ...]
    shared_inputs: tuple[str, ...]
    streams: int


class Bound(Protocol):
    """A loaded version that is an ensemble itself."""

    @property
    def binding(self) -> "Binding":
        """What its steps are now."""
        ...


class Binding:
    """Immutable, but for what it remembers."""

    def __init__(
        self,
        graph: Graph,
        signature: ModelSignature,
        callees: Sequence[Callee],
        inner: Sequence[Bound | None],
    ) -> None:
        """`callees`: one for each step. `inner`: the same, of those that are ensembles. Raises MixedStreamsError."""
        self.graph = graph
        self.callees = tuple(callees)
        self._signature = signature
        self._inner = tuple(each.binding if each is not None else None for each in inner)
        self._routes: dict[tuple[str, ...], Route] = {}
        self.decoupled = self.route(()).streams > 0

    @cached_property
    def all_callees(self) -> tuple[Callee, ...]:
        """Every version that may be asked, those of ensembles inside included."""
        found = dict.fromkeys(self.callees)
        for inner in self._inner:
            if inner is not None:
                found |= dict.fromkeys(inner.all_callees)
        return tuple(found)

    def route(self, requested: tuple[str, ...]) -> Route:
        """What to do for the outputs that a request asks for, empty for all."""
        route = self._routes.get(requested)
        if route is None:
            route = self._make_route(requested)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[requested] = route
        return route

    def _make_route(self, requested: tuple[str, ...]) -> Route:
        plan = plan_for(self.graph, requested)
        decoupled = [number for number, callee in enumerate(self.callees) if callee.decoupled]
        streams = streams_of(plan, decoupled)
        shared = _shared(plan, streams.depth, decoupled)
        steps = {
            number: self._bind(plan, number, streams.depth[number], shared) for number in sorted(plan.steps)
        }
        return Route(
            plan,
            steps,
            tuple((name, self._rank(name)) for name in plan.outputs),
            tuple(name for name in self.graph.inputs if name in shared),
            len(streams.chain),
        )

    def _rank(self, output: str) -> int:
        signature = self._signature
        return (
            len(signature.outputs[output].dims) + (signature.max_batch_size > 0) if self._ranks_differ else 0
        )

    @cached_property
    def _ranks_differ(self) -> bool:
        """Whether some of the models have a batch dimension, and others have not."""
        batched = self._signature.max_batch_size > 0
        return any((callee.signature.max_batch_size > 0) != batched for callee in self.callees)

    def _bind(self, plan: Plan, number: int, depth: int, shared: frozenset[str]) -> BoundStep:
        step, callee = self.graph.steps[number], self.callees[number]
        signature, needed = callee.signature, plan.outputs_of[number]
        batch = signature.max_batch_size > 0
        return BoundStep(
            number,
            callee,
            step.version,
            tuple(
                Feed(
                    name,
                    tensor,
                    len(signature.inputs[name].dims) + batch if self._ranks_differ else 0,
                    tensor not in shared,
                )
                for name, tensor in step.inputs.items()
            ),
            tuple(Drain(name, tensor, tensor in shared) for name, tensor in needed.items()),
            () if len(needed) == len(signature.outputs) else tuple(needed),
            depth,
            callee.decoupled,
            self._inner[number],
        )


def _shared(plan: Plan, depth: Mapping[int, int], decoupled: Sequence[int]) -> frozenset[str]:
    """The tensors that are read more than once: by several inputs, by a step that is done again for each response of a
    stream, or by the client besides.
    """
    read = list(plan.outputs)
    read += [tensor for number in plan.steps for tensor in plan.graph.steps[number].inputs.values()]
    shared = {tensor for tensor in read if read.count(tensor) > 1}
    return frozenset(shared | set(_read_again(plan, depth, decoupled)))


def _read_again(plan: Plan, depth: Mapping[int, int], decoupled: Sequence[int]) -> Iterator[str]:
    """Yield what is read deeper than it is written."""
    deepest = max([depth[number] + (number in decoupled) for number in plan.steps], default=0)
    written = dict.fromkeys(plan.graph.inputs, 0)
    for number in plan.steps:
        written |= dict.fromkeys(plan.outputs_of[number].values(), depth[number] + (number in decoupled))
    yield from (tensor for tensor in plan.outputs if written[tensor] < deepest)
    for number in plan.steps:
        for tensor in plan.graph.steps[number].inputs.values():
            if written[tensor] < depth[number]:
                yield tensor
