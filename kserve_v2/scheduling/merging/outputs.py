"""What a backend has answered, checked against the model's configuration once, for all backends."""

import sys
from collections.abc import Container, Mapping
from math import prod
from typing import Any

import numpy as np

from kserve_v2.errors import InternalError
from kserve_v2.messages import Tensors
from kserve_v2.scheduling.pending import Outputs
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BY_DTYPE, BYTES, Array

# For an output whose shape varies, this many shapes are remembered as right.
_MAX_SHAPES = 64

# So many elements are looked at without another thread having its turn.
_AT_ONCE = 65536


def finish_outputs(outputs: Tensors, signature: ModelSignature, rows: int) -> Outputs:
    """The backend's answer: the declared outputs in declared order, with the shapes of the model's configuration.

    Raises InternalError for one that is missing, or has a wrong type or shape.
    """
    if type(outputs) is not dict:
        _check_mapping(outputs, signature)
    checked: Outputs = {}
    for name, dtype, shapes in signature.expected_outputs.get(rows) or signature.expect_outputs(rows):
        array = outputs.get(name)
        # Fast path: usually everything is right, and the dtype is the same object.
        if (
            type(array) is not np.ndarray
            or array.dtype is not dtype
            or array.shape not in shapes
            or (dtype is BYTES.dtype and not _is_one_text(array))
        ):
            if array is None:
                raise _missing(name, outputs, signature)
            fitted = fit_output(array, signature.outputs[name], signature, rows)
            if fitted is array and len(shapes) < _MAX_SHAPES:
                shapes.add(array.shape)
            array = fitted
        checked[name] = array
    return signature.reshape_outputs(checked) if signature.reshapes_outputs else checked


def _is_one_text(array: Array) -> bool:
    """Whether an array has one element, which may be sent as it is. Others are looked at all together."""
    return array.size == 1 and type(array.item()) is bytes


def finish_present_outputs(outputs: Tensors, signature: ModelSignature, rows: int) -> Outputs:
    """As `finish_outputs`, for a response of a decoupled model, which may leave outputs out."""
    _check_mapping(outputs, signature)
    unknown = [name for name in outputs if name not in signature.outputs]
    if unknown:
        expected = sorted(signature.outputs)
        raise InternalError(
            f"model '{signature.model_name}' gave unknown outputs {unknown}, expected some of {expected}"
        )
    checked = {
        name: fit_output(outputs[name], tensor, signature, rows)
        for name, tensor in signature.outputs.items()
        if name in outputs
    }
    return signature.reshape_outputs(checked) if signature.reshapes_outputs else checked


def finish_requested_outputs(
    outputs: Tensors, signature: ModelSignature, rows: int, requested: Container[str]
) -> Outputs:
    """As `finish_outputs`, of a model that looks at what a client has asked for: others may be missing."""
    _check_mapping(outputs, signature)
    for name in signature.outputs:
        if name in requested and outputs.get(name) is None:
            raise _missing(name, outputs, signature)
    return finish_present_outputs(
        {name: array for name, array in outputs.items() if name in signature.outputs}, signature, rows
    )


def _check_mapping(outputs: object, signature: ModelSignature) -> None:
    # `issubclass` of the type, here and below: `isinstance` could run code of the plug-in's object.
    if not issubclass(type(outputs), Mapping):
        raise InternalError(
            f"model '{signature.model_name}' gave {type(outputs).__name__}, expected a dict of "
            f"{sorted(signature.outputs)}"
        )


def plain_output(outputs: Tensors, tensor: TensorSignature, signature: ModelSignature) -> Array:
    """One output, of the declared type and whatever shape. Raises InternalError if there is none."""
    _check_mapping(outputs, signature)
    if outputs.get(tensor.name) is None:
        raise _missing(tensor.name, outputs, signature)
    return _typed(outputs[tensor.name], tensor, signature)


def _missing(name: str, outputs: Tensors, signature: ModelSignature) -> InternalError:
    names = sorted(map(str, outputs))
    return InternalError(f"model '{signature.model_name}' gave no output '{name}', got {names}")


def _typed(array: Array, tensor: TensorSignature, signature: ModelSignature) -> Array:
    array = _plain(array, tensor, signature)
    if array.dtype != tensor.datatype.dtype:
        got = BY_DTYPE.get(array.dtype)
        raise InternalError(
            f"{_prefix(tensor, signature)} data-type {got.name if got else array.dtype}, "
            f"but the model's configuration says {tensor.datatype.name}"
        )
    return array


def fit_output(array: Array, tensor: TensorSignature, signature: ModelSignature, rows: int) -> Array:
    """An output as the configuration says; [N] for [N, 1] and the like hold the same elements in the same places."""
    array = _typed(array, tensor, signature)
    batch = (rows,) if signature.max_batch_size else ()
    if array.shape[: len(batch)] != batch:
        raise InternalError(
            f"{_prefix(tensor, signature)} shape {list(array.shape)}, expected a batch of {rows} in its first "
            "dimension; a model with max_batch_size > 0 answers one row per row"
        )
    shape = same_elements(array.shape[len(batch) :], tensor.backend_dims)
    if shape is None:
        dims = [*((-1,) if batch else ()), *tensor.backend_dims]
        raise InternalError(
            f"{_prefix(tensor, signature)} shape {list(array.shape)}, but the model's configuration says {dims}; "
            "a dimension that varies is -1 there"
        )
    return array if array.shape[len(batch) :] == shape else array.reshape(batch + shape)


def _prefix(tensor: TensorSignature, signature: ModelSignature) -> str:
    return f"output '{tensor.name}' of model '{signature.model_name}' has"


def _plain(array: object, tensor: TensorSignature, signature: ModelSignature) -> Array:
    """An array that is no more than that: its subclasses index and print as they like. Its texts are `bytes`: anything
    else would fail when the answer is written, or run code of the model's there.
    """
    prefix = f"output '{tensor.name}' of model '{signature.model_name}'"
    kind = type(array)
    if kind is not np.ndarray and (not issubclass(kind, np.ndarray) or _is_masked(kind)):
        raise InternalError(f"{prefix} is {kind.__name__}, expected a numpy array")
    plain: Array = np.asarray(array)
    if plain.dtype == BYTES.dtype == tensor.datatype.dtype:
        others = types_of(plain) - {bytes}
        if others:
            names = sorted(other.__name__ for other in others)
            raise InternalError(f"{prefix} has elements of type {', '.join(names)}, expected bytes")
    return plain


def types_of(array: Array) -> set[type]:
    """The types of an array's elements. Other threads have their turns between one part of them and the next."""
    flat = array.ravel()
    if flat.size <= _AT_ONCE:
        return set(map(type, flat.tolist()))
    starts = range(0, flat.size, _AT_ONCE)
    return {kind for start in starts for kind in set(map(type, flat[start : start + _AT_ONCE].tolist()))}


def _is_masked(kind: type[Any]) -> bool:
    # Unless numpy.ma has been imported, nothing can be masked; importing it here would take long.
    ma = sys.modules.get("numpy.ma")
    return ma is not None and issubclass(kind, ma.MaskedArray)


def same_elements(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that an array of `shape` has to be given to fit `dims`, in which -1 is any size.

    None unless there is exactly one that differs in nothing but dimensions of size 1: a guess could mix elements up.
    """
    if len(shape) == len(dims) and all(dim in (size, -1) for size, dim in zip(shape, dims, strict=True)):
        return shape
    if dims.count(-1) > 1:
        return None
    known = prod(dim for dim in dims if dim != -1)
    varying = prod(shape) // known if known else 0
    wanted = tuple(varying if dim == -1 else dim for dim in dims)
    return wanted if _without_ones(wanted) == _without_ones(shape) else None


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]
