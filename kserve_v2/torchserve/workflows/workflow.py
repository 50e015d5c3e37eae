"""What a workflow is made of: nodes, each a model or a function, and which of them come before it. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from kserve_v2.errors import InvalidArgumentError

BETWEEN = "__"
"""What stands between the names of a workflow and of one of its nodes, in the name of the node's model."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Of the models of a workflow, where neither they nor the workflow says it.
_DEFAULTS: Mapping[str, int] = {
    "min-workers": 1,
    "max-workers": 1,
    "batch-size": 1,
    "max-batch-delay": 50,
    "retry-attempts": 1,
    "timeout-ms": 10_000,
}
_LEAST: Mapping[str, int] = {"max-batch-delay": 0, "retry-attempts": 0}


@dataclass(frozen=True, slots=True)
class Node:
    """`model`: the name of the model that is registered for it. `url`: of that model's archive, or else `function`: its
    place in the workflow's own handler, as a handler is named in a manifest. Times in milliseconds.
    """

    name: str
    model: str
    parents: tuple[str, ...]
    url: str = ""
    function: str = ""
    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_batch_delay: int = 0
    retry_attempts: int = 1
    timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Workflow:
    """`nodes`: each behind its parents. `leaves`: the names of those that nothing comes after. `dag_text`: the order of
    the nodes as TorchServe writes it down.
    """

    name: str
    nodes: tuple[Node, ...]
    leaves: tuple[str, ...]
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay: int
    dag_text: str


def workflow_of(name: str, spec: object, handler: str) -> Workflow:
    """The workflow that a specification describes. `handler`: the file with its functions, "" if there is none. Raises
    InvalidArgumentError with all that is wrong with it.
    """
    return _Reader(name, handler).read(spec)


class _Reader:
    def __init__(self, name: str, handler: str) -> None:
        self._name = name
        self._handler = handler
        self._problems: list[str] = []

    def read(self, spec: object) -> Workflow:
        """Raises InvalidArgumentError."""
        document = self._mapping(spec, "the specification")
        models = self._mapping(document.get("models"), "models")
        defaults = {key: self._number(models, key, "models", value) for key, value in _DEFAULTS.items()}
        after = dict(self._dag(document.get("dag")))
        names = dict.fromkeys([*after, *(each for later in after.values() for each in later)])
        parents = {name: tuple(each for each in after if name in after[each]) for name in names}
        nodes = {name: self._node(name, parents[name], models, defaults) for name in names}
        if not names:
            self._problems.append("dag: expected at least one node")
        order = self._order(nodes)
        if self._problems:
            text = "; ".join(self._problems)
            raise InvalidArgumentError(f"workflow '{self._name}': {text}", self._problems)
        dag = ", ".join(f"{name}=[{', '.join(later)}]" for name, later in after.items())
        return Workflow(
            self._name,
            order,
            tuple(name for name in names if not after.get(name)),
            min_workers=defaults["min-workers"],
            max_workers=defaults["max-workers"],
            batch_size=defaults["batch-size"],
            max_batch_delay=defaults["max-batch-delay"],
            dag_text=f"{{{dag}}}",
        )

    def _mapping(self, value: object, what: str) -> Mapping[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._problems.append(f"{what}: expected keys and values, got {value!r}")
            return {}
        return value

    def _dag(self, value: object) -> Iterator[tuple[str, tuple[str, ...]]]:
        for name, later in self._mapping(value, "dag").items():
            if later is not None and not isinstance(later, list):
                self._problems.append(f"dag.{name}: expected a list of the nodes behind it, got {later!r}")
                continue
            # Empty names are passed over by TorchServe, too.
            named = [str(each).strip() for each in later or () if each is not None]
            yield str(name), tuple(dict.fromkeys(filter(None, named)))

    def _node(
        self, name: str, parents: tuple[str, ...], models: Mapping[Any, Any], defaults: Mapping[str, int]
    ) -> Node:
        model = f"{self._name}{BETWEEN}{name}"
        if not _NAME.fullmatch(name):
            self._problems.append(
                f"dag: {name!r} is no name of a node: letters, digits, '_', '-' and '.' are"
            )
        if name not in models or name in _DEFAULTS:
            return self._function(name, model, parents, defaults)
        of_model = self._mapping(models[name], f"models.{name}")
        url = of_model.get("url")
        if not isinstance(url, str) or not url:
            self._problems.append(f"models.{name}.url: expected the name of an archive, got {url!r}")
            url = ""
        own = {key: self._number(of_model, key, f"models.{name}", value) for key, value in defaults.items()}
        return Node(
            name,
            model,
            parents,
            url=url,
            min_workers=own["min-workers"],
            max_workers=own["max-workers"],
            batch_size=own["batch-size"],
            max_batch_delay=own["max-batch-delay"],
            retry_attempts=own["retry-attempts"],
            timeout_ms=own["timeout-ms"],
        )

    def _function(self, name: str, model: str, parents: tuple[str, ...], defaults: Mapping[str, int]) -> Node:
        if not self._handler:
            self._problems.append(
                f"dag: '{name}' is not under models, and there is no handler with such a function"
            )
        elif not name.isidentifier():
            self._problems.append(f"dag: '{name}' is not under models, and a function cannot be called so")
        function = f"{self._handler}:{name}"
        return Node(
            name,
            model,
            parents,
            function=function,
            retry_attempts=defaults["retry-attempts"],
            timeout_ms=defaults["timeout-ms"],
        )

    def _number(self, of: Mapping[Any, Any], key: str, where: str, otherwise: int) -> int:
        value = of.get(key, otherwise)
        least = _LEAST.get(key, 1)
        if type(value) is not int or value < least:
            self._problems.append(f"{where}.{key}: expected a whole number from {least}, got {value!r}")
            return otherwise
        return value

    def _order(self, nodes: Mapping[str, Node]) -> tuple[Node, ...]:
        """The nodes, each behind its parents."""
        try:
            names = TopologicalSorter({name: node.parents for name, node in nodes.items()}).static_order()
            return tuple(nodes[name] for name in names)
        except CycleError:
            self._problems.append("dag: there is a circle in it: nodes wait for each other")
            return ()
