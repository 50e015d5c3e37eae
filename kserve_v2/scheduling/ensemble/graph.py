"""What an ensemble is made of: steps, and the tensors that go from one to the other. Pure, and free of any format."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property


class MixedStreamsError(ValueError):
    """A step, or the answer, needs tensors of two streams that have nothing to do with each other: which response of
    one belongs to which of the other nobody can say. `step` is None for the answer.
    """

    def __init__(self, step: "Step | None") -> None:
        super().__init__("tensors of different streams meet")
        self.step = step


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a model.

    `version`: "" for the highest that is ready. `inputs`: the tensor that each input of the model is fed from.
    `outputs`: the tensor that each output of the model is written to; those that are not named are dropped.
    """

    model: str
    version: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Graph:
    """Every tensor is an input of the whole or is written by one step, and no step depends on itself: whoever makes a
    graph has seen to that.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All steps, each behind those that it depends on. Raises ValueError if one depends on itself."""
        known, order = set(self.inputs), []
        left = list(range(len(self.steps)))
        while left:
            ready = [number for number in left if known.issuperset(self.steps[number].inputs.values())]
            if not ready:
                raise ValueError(f"steps {left} wait for each other, or for a tensor that nobody writes")
            order += ready
            known.update(tensor for number in ready for tensor in self.steps[number].outputs.values())
            left = [number for number in left if number not in ready]
        return tuple(order)


@dataclass(frozen=True)
class Plan:
    """The part of a graph that is needed for some of its outputs.

    `steps`: numbers of the steps to execute. `outputs`: those wanted, in the graph's order. `outputs_of`: for each
    step that is executed, the outputs of its model that somebody needs, and their tensors. `readers`: the steps to
    execute that are fed from a tensor.
    """

    graph: Graph
    outputs: tuple[str, ...]
    steps: frozenset[int]
    outputs_of: Mapping[int, Mapping[str, str]]
    readers: Mapping[str, tuple[int, ...]]


def plan_for(graph: Graph, wanted: Collection[str]) -> Plan:
    """What has to be executed for the outputs that are `wanted`: all of them if there is none."""
    outputs = tuple(name for name in graph.outputs if name in wanted or not wanted)
    needed, steps = set(outputs), set[int]()
    for number in reversed(graph.order):
        step = graph.steps[number]
        if not needed.isdisjoint(step.outputs.values()):
            steps.add(number)
            needed.update(step.inputs.values())
    readers: dict[str, list[int]] = {}
    for number in sorted(steps):
        for tensor in dict.fromkeys(graph.steps[number].inputs.values()):
            readers.setdefault(tensor, []).append(number)
    return Plan(
        graph,
        outputs,
        frozenset(steps),
        {
            number: {name: each for name, each in graph.steps[number].outputs.items() if each in needed}
            for number in steps
        },
        {tensor: tuple(numbers) for tensor, numbers in readers.items()},
    )


def ready_steps(plan: Plan, tensors: Collection[str], settled: Iterable[str]) -> list[int]:
    """The steps that have waited for one of the tensors `settled`, and now for nothing more.

    `tensors`: all that are there, or are known not to come, `settled` among them. Each step is named once if every
    tensor is settled once.
    """
    ready: list[int] = []
    readers, steps = plan.readers, plan.graph.steps
    for tensor in settled:
        for number in readers.get(tensor, ()):
            if number in ready:
                continue
            for needed in steps[number].inputs.values():
                if needed not in tensors:
                    break
            else:
                ready.append(number)
    return ready


@dataclass(frozen=True)
class Streams:
    """How often the parts of a plan are executed, if some of its steps answer any number of times.

    Everything behind such a step is done again for each of its responses. `chain`: those steps, each behind the one
    before it. `depth`: how many of them each step stands behind.
    """

    chain: tuple[int, ...]
    depth: Mapping[int, int]


def streams_of(plan: Plan, decoupled: Collection[int]) -> Streams:
    """`decoupled`: the steps that answer any number of times. Raises MixedStreamsError."""
    chains: dict[str, tuple[int, ...]] = dict.fromkeys(plan.graph.inputs, ())
    depth: dict[int, int] = {}
    for number in plan.graph.order:
        if number not in plan.steps:
            continue
        step = plan.graph.steps[number]
        chain = _join([chains[tensor] for tensor in step.inputs.values()], step)
        depth[number] = len(chain)
        if number in decoupled:
            chain = (*chain, number)
        chains |= dict.fromkeys(step.outputs.values(), chain)
    return Streams(_join([chains[tensor] for tensor in plan.outputs], None), depth)


def _join(chains: list[tuple[int, ...]], step: Step | None) -> tuple[int, ...]:
    longest = max(chains, key=len, default=())
    if any(longest[: len(chain)] != chain for chain in chains):
        raise MixedStreamsError(step)
    return longest
