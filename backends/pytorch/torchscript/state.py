"""Whether a TorchScript module writes to what it holds. Instances that share it would write to each other's answers."""

from typing import Any

import torch

_jit: Any = torch.jit  # which is only partly typed


def writes_to_itself(module: Any) -> bool:
    """Whether `forward` sets an attribute, or may write to the memory of one. True also where that cannot be told."""
    try:
        graph = _frozen(module).inlined_graph
        if graph.findAllNodes("prim::SetAttr"):
            return True
        aliases = graph.alias_db()
        held = [value for node in graph.findAllNodes("prim::GetAttr") for value in node.outputs()]
        return any(aliases.has_writers(value) for value in held)
    except (AttributeError, RuntimeError, TypeError):
        return True


def _frozen(module: Any) -> Any:
    """The module without what it does in training only, such as the counting of batch normalizations, and without
    attributes that never change. The weights are not copied.
    """
    try:
        return _jit.freeze(module, optimize_numerics=False)
    except RuntimeError:
        return module
