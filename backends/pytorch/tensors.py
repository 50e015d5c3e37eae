"""Conversions between the server's arrays and torch tensors."""

from sys import getrefcount
from typing import Any

import ml_dtypes
import numpy as np
import torch

from kserve_v2.tensors.datatypes import BF16, Array

_TO_NUMPY = {
    torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.float16, torch.float32, torch.float64,
}  # fmt: skip


def to_torch(array: Array, device: torch.device) -> torch.Tensor:
    """The array as a tensor on `device`. Not for BYTES, which torch does not have.

    On the CPU a writable array, such as a merged batch, is shared with the tensor. A read-only one is copied:
    torch has no read-only tensors, and a model that works in place would write into the request, or into the
    one `bytes` object that the interpreter keeps for all equal short ones.
    """
    source = array if array.flags.writeable else array.copy()
    if array.dtype == BF16.dtype:
        # torch knows nothing of ml_dtypes, so the bits travel as 16-bit integers.
        return torch.from_numpy(source.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(source).to(device)


def to_numpy(tensor: torch.Tensor) -> Array:
    """The tensor as a C-contiguous array on the CPU, without a copy where it is there already, unless torch does not
    own its memory: that may be an input's, or of an array that the model keeps. Whether somebody else has a tensor
    with the same memory is for `memory_is_alone` to say.

    Raises TypeError for a tensor that the protocol cannot carry: sparse, quantised or complex ones, 8-bit
    floats.
    """
    if tensor.layout != torch.strided:
        raise TypeError(f"a tensor of layout {tensor.layout} cannot be sent; make it dense with to_dense()")
    dense = tensor.detach().cpu().contiguous()
    storage = dense.untyped_storage()
    # Nor does it resize what processes share, or what an array was made of.
    if not storage.resizable() or storage.is_shared():
        dense = dense.clone()
    if dense.dtype == torch.bfloat16:
        return dense.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    if dense.dtype not in _TO_NUMPY:
        raise TypeError(f"the v2 protocol has no datatype for {dense.dtype}")
    array: Array = dense.numpy()
    return array


def memory_is_alone(owner: object) -> bool:
    """Whether the base of an array of `to_numpy`, to which nothing else refers, is all that holds its memory: see
    `memory.own.OwnerIsAlone`.
    """
    return isinstance(owner, torch.Tensor) and _holders(owner) == _ONE_HOLDER


def _holders(tensor: Any) -> tuple[int, ...] | None:
    """How many hold the tensor, how many tensors have its memory, and how many hold that directly."""
    if _storage_use_count is None:
        return None
    storage = tensor.untyped_storage()
    return tensor._use_count(), _storage_use_count(storage._cdata), getrefcount(storage)


# Not public: without it, each array is copied.
_storage_use_count: Any = getattr(torch._C, "_storage_Use_Count", None)
_ONE_HOLDER = _holders(torch.empty(1).numpy().base) or (0,)
