"""Made-up inputs, for what is compiled before any request comes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BYTES

from .optimize import Example
from .tensors import to_torch

_trees: Any = pytree  # which is only partly typed

# For dimensions of any size: no batch's, and large enough for most convolutions.
_ANY_SIZE = 37


def examples_of_config(config: ModelConfig, sizes: Sequence[int], device: str) -> list[Example]:
    """The inputs in the order of the configuration, as the arguments of a module that takes them so: with each of these
    numbers of rows, or as they are for a model without a batch dimension. Numbers are random, integers 0.

    Raises InvalidArgumentError for inputs that no module takes.
    """
    texts = [tensor.name for tensor in config.input if BY_CONFIG_ENUM[tensor.data_type] is BYTES]
    if texts or not config.input:
        what = f"input '{texts[0]}' is BYTES" if texts else "the configuration has no inputs"
        raise InvalidArgumentError(
            f"parameters['compile']: {what}, which is no module's input: give an example"
        )
    return [_example(config, rows, torch.device(device)) for rows in sizes or (0,)]


def examples_of_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], sizes: Sequence[int], *, all_vary: bool
) -> list[Example]:
    """The arguments of a call for one row, with each of these numbers of rows in place of it; or as they are without
    sizes. `all_vary`: whether other dimensions than the batch may be of any size, too.

    Raises InvalidArgumentError where they are not for one row.
    """
    tensors = [leaf for leaf in _trees.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if not tensors:
        raise InvalidArgumentError("parameters['compile']: there is no tensor in the example")
    for tensor in tensors if sizes else []:
        if tensor.dim() == 0 or tensor.shape[0] != 1:
            raise InvalidArgumentError(
                "parameters['compile']: expected an example of one row, with tensors of shape [1,...], got "
                f"{list(tensor.shape)}"
            )
    varying = [_varying(tensor.dim(), batched=bool(sizes), others=all_vary) for tensor in tensors]
    made = []
    for rows in sizes or (1,):

        def repeated(tensor: torch.Tensor, rows: int = rows) -> torch.Tensor:
            return torch.cat([tensor] * rows) if sizes else tensor.clone()

        more, named = _trees.tree_map_only(torch.Tensor, repeated, (args, dict(kwargs)))
        made.append(Example(more, named, varying, _title(rows if sizes else 0)))
    return made


def _example(config: ModelConfig, rows: int, device: torch.device) -> Example:
    random = np.random.default_rng(0)
    args, varying = [], []
    for tensor in config.input:
        dims = [
            *([-1] if rows else []),
            *(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims),
        ]
        shape = [_ANY_SIZE if dim == -1 else dim for dim in dims]
        if rows:
            shape[0] = rows
        dtype = BY_CONFIG_ENUM[tensor.data_type].dtype
        numbers = random.random(shape) if dtype.kind in "fV" else np.zeros(shape)
        args.append(to_torch(numbers.astype(dtype), device))
        varying.append(frozenset(index for index, dim in enumerate(dims) if dim == -1))
    return Example(tuple(args), {}, varying, _title(rows))


def _varying(dims: int, *, batched: bool, others: bool) -> frozenset[int]:
    if others:
        return frozenset(range(dims))
    return frozenset({0}) if batched else frozenset()


def _title(rows: int) -> str:
    return "its inputs" if not rows else "1 row" if rows == 1 else f"batches of {rows} rows"
