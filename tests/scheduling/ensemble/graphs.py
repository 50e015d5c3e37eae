"""Graphs for tests: random ones, and what they compute by a reference that is too simple to be wrong."""

from collections.abc import Mapping

from hypothesis import strategies as st

from kserve_v2.scheduling.ensemble.graph import Graph, Step


def chain(length: int) -> Graph:
    """x → s0 → t0 → s1 → ... → the last tensor."""
    names = ["x", *[f"t{number}" for number in range(length)]]
    steps = tuple(
        Step(f"m{number}", "", {"in": names[number]}, {"out": names[number + 1]}) for number in range(length)
    )
    return Graph(("x",), (names[-1],), steps)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph: several inputs and outputs, fan-out and fan-in, steps in any order, outputs that are dropped."""
    inputs = [f"x{number}" for number in range(draw(st.integers(1, 3)))]
    tensors, steps = list(inputs), []
    for number in range(draw(st.integers(1, 8))):
        fed = draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=3))
        written = [f"t{number}_{index}" for index in range(draw(st.integers(1, 3)))]
        steps.append(
            Step(
                f"m{number}",
                "",
                {f"i{index}": tensor for index, tensor in enumerate(fed)},
                {f"o{index}": tensor for index, tensor in enumerate(written)},
            )
        )
        tensors += written
    made = [tensor for tensor in tensors if tensor not in inputs]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=4, unique=True))
    return Graph(tuple(inputs), tuple(outputs), tuple(draw(st.permutations(steps))))


def reference(graph: Graph, values: Mapping[str, int], model: object) -> dict[str, int]:
    """Every tensor of a graph, by repeating all steps whose tensors are there until nothing changes.

    `model(name, inputs, output)`: what a model computes.
    """
    assert callable(model)
    tensors = dict(values)
    for _ in graph.steps:
        for step in graph.steps:
            if all(tensor in tensors for tensor in step.inputs.values()):
                fed = {name: tensors[tensor] for name, tensor in step.inputs.items()}
                tensors |= {tensor: model(step.model, fed, name) for name, tensor in step.outputs.items()}
    return tensors


def needed(graph: Graph, wanted: set[str]) -> set[int]:
    """The steps without which one of the outputs `wanted` would lack something."""
    found: set[int] = set()
    todo = list(wanted)
    while todo:
        tensor = todo.pop()
        for number, step in enumerate(graph.steps):
            if tensor in step.outputs.values() and number not in found:
                found.add(number)
                todo += step.inputs.values()
    return found
