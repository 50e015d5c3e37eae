"""Which of its parameters and buffers a program of `torch.export` writes to while it runs, as far as its graph shows.
A value that may have the memory of a parameter counts as that parameter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

# Operators that may return an input as it is, though their schema does not say so.
_PASSING = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "rrelu", "pad"})
# Where the statistics are that are written in training, and what says that it is training.
_STATISTICS = {
    "batch_norm": ("training", ("running_mean", "running_var")),
    "native_batch_norm": ("training", ("running_mean", "running_var")),
    "instance_norm": ("use_input_stats", ("running_mean", "running_var")),
}

Names = set[str]


def written_inputs(graph: Mapping[str, Any]) -> Names:
    """The inputs of a graph, as it is in the file, that it writes to."""
    roots: dict[str, Names] = {name: {name} for argument in graph["inputs"] for name in _tensors(argument)}
    written: Names = set()
    for node in graph["nodes"]:
        passed, changed = _effects(node)
        memory: Names = set().union(*(roots.get(name, set()) for name in passed))
        for name in (name for output in node["outputs"] for name in _tensors(output)):
            roots[name] = memory
        written.update(*(roots.get(name, set()) for name in changed))
    return written


def _effects(node: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The values whose memory the node's results may have, and those that it writes to."""
    arguments = {each["name"]: each["arg"] for each in node["inputs"]}
    target = str(node["target"])
    if target.startswith("torch.ops.higher_order."):
        everything = [name for each in node["inputs"] for name in _tensors(each["arg"])]
        writes = any(written_inputs(graph) for each in node["inputs"] for graph in _graphs(each["arg"]))
        return everything, everything if writes else []
    if not target.startswith("torch.ops."):
        return [name for each in node["inputs"] for name in _tensors(each["arg"])], []
    _, _, namespace, operator, *overload = target.split(".")
    passed: list[str] = []
    changed: list[str] = []
    for argument in _schema(f"{namespace}::{operator}", overload[0] if overload else "default"):
        names = [*_tensors(arguments.get(argument.name, {}))]
        if argument.alias_info is not None:
            passed += names
            changed += names if argument.alias_info.is_write else []
    if operator in _PASSING and node["inputs"]:
        passed += _tensors(node["inputs"][0]["arg"])
    training, statistics = _STATISTICS.get(operator, ("", ()))
    if statistics and arguments.get(training) != {"as_bool": False}:
        changed += [name for each in statistics for name in _tensors(arguments.get(each, {}))]
    return passed, changed


def _schema(operator: str, overload: str) -> Sequence[Any]:
    """The arguments of an operator; none of one that is not known, which will not be loaded either."""
    get: Callable[[str, str], Any] = torch._C._get_schema
    try:
        arguments: Sequence[Any] = get(operator, "" if overload == "default" else overload).arguments
    except RuntimeError:
        return ()
    return arguments


def _tensors(value: Any) -> Iterator[str]:
    """The names of the values in an argument, but for those in its graphs."""
    if isinstance(value, list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        if isinstance(value.get("name"), str) and "graph" not in value:
            yield value["name"]
        for key, part in value.items():
            if key != "as_graph":
                yield from _tensors(part)


def _graphs(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for part in value:
            yield from _graphs(part)
    elif isinstance(value, dict):
        if isinstance(value.get("as_graph"), dict):
            yield value["as_graph"]["graph"]
        for key, part in value.items():
            if key != "as_graph":
                yield from _graphs(part)
