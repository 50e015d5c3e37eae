"""Tensors that other libraries hand over by DLPack, without any of those libraries.

A capsule is read where it lies: it stays alive as long as the array over its memory does, and gives that back itself.
What lies on a GPU is left to the library that is there for it.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

from .datatypes import bfloat16
from .errors import TritonModelException

_CPU, _PINNED = 1, 3

# By kind and bits, as DLPack counts them.
_TYPES = {
    **{(0, bits): f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(1, bits): f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(2, bits): f"<f{bits // 8}" for bits in (16, 32, 64)},
    (6, 8): "|b1",
}
_BFLOAT16 = (4, 16)

NOT_A_CAPSULE = (
    "Provided tensor is not supported. Tensor must be a DLPack capsule or have `__dlpack__` and `__dlpack_device__` "
    "attributes."
)


class _Tensor(ctypes.Structure):
    """`DLTensor`."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Memory:
    """The memory of a capsule, for numpy to make an array over."""

    def __init__(self, capsule: object, address: int, shape: tuple[int, ...], typestr: str) -> None:
        self._capsule = capsule
        self.__array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "typestr": typestr,
            "version": 3,
        }


def _is_capsule(value: object) -> bool:
    return type(value).__name__ == "PyCapsule"


def device_of(value: Any) -> tuple[int, int]:
    """Kind and number of the device that the memory of a capsule, or of an object that has one, is on."""
    if _is_capsule(value):
        tensor = _read(value)
        return tensor.device_type, tensor.device_id
    try:
        kind, number = value.__dlpack_device__()
        return int(kind), int(number)
    except (AttributeError, TypeError):
        raise TritonModelException(NOT_A_CAPSULE) from None


def is_on_cpu(value: Any) -> bool:
    """Whether numpy can reach it."""
    return device_of(value)[0] in (_CPU, _PINNED)


def array_of(value: Any) -> Any:
    """An array over the memory of a capsule, or of an object that has one."""
    try:
        capsule = value if _is_capsule(value) else value.__dlpack__()
    except (AttributeError, TypeError):
        raise TritonModelException(NOT_A_CAPSULE) from None
    tensor = _read(capsule)
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    _check_contiguous(tensor, shape)
    kind = (tensor.code, tensor.bits)
    typestr = "<u2" if kind == _BFLOAT16 and bfloat16 is not None else _TYPES.get(kind)
    if typestr is None or tensor.lanes != 1:
        raise TritonModelException("DLPack dtype is not supported.")
    if 0 in shape:
        array: Any = np.empty(shape, typestr)
    else:
        array = np.asarray(_Memory(capsule, tensor.data + tensor.byte_offset, shape, typestr))
    return array.view(bfloat16) if kind == _BFLOAT16 else array


def _read(capsule: Any) -> _Tensor:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    try:
        # The managed tensor begins with the tensor.
        return _Tensor.from_address(pointer(capsule, b"dltensor"))
    except ValueError:
        raise TritonModelException(
            "Provided tensor is not supported. It is no DLPack capsule, or one that has been used already."
        ) from None


def _check_contiguous(tensor: _Tensor, shape: tuple[int, ...]) -> None:
    if not tensor.strides or 0 in shape:
        return
    expected = 1
    for axis in reversed(range(len(shape))):
        if shape[axis] != 1 and tensor.strides[axis] != expected:
            raise TritonModelException(
                "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order are "
                "supported."
            )
        expected *= shape[axis]


def capsule_of(array: Any) -> Any:
    """A capsule with the memory of an array."""
    if array.dtype.kind in "OS":
        raise TritonModelException("DLPack does not have support for string tensors.")
    try:
        if bfloat16 is not None and array.dtype == bfloat16:
            return _bfloat16_capsule(array)
        return array.__dlpack__()
    except (AttributeError, BufferError, TypeError) as error:
        raise TritonModelException(f"numpy cannot hand over this tensor by DLPack: {error}") from None


def _bfloat16_capsule(array: Any) -> Any:
    """numpy does not know the type: it hands over the same bits as integers, and the capsule is told what they are."""
    capsule = array.view("<u2").__dlpack__()
    tensor = _read(capsule)
    tensor.code, tensor.bits = _BFLOAT16
    return capsule


class OnDevice:
    """A tensor on a GPU: one of torch's, or of cupy's."""

    def __init__(self, value: Any) -> None:
        """`value`: a capsule, or an object that has one."""
        self.device = device_of(value)
        torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
        if torch is not None:
            self.tensor = torch.from_dlpack(value)
            contiguous = self.tensor.is_contiguous()
        elif cupy is not None:
            self.tensor = cupy.from_dlpack(value)
            contiguous = self.tensor.flags.c_contiguous
        else:
            raise TritonModelException(
                "a tensor on a GPU needs torch or cupy, which the model has not imported"
            )
        if not contiguous:
            raise TritonModelException(
                "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order are "
                "supported."
            )

    def to_array(self) -> Any:
        """A copy that numpy can reach."""
        if hasattr(self.tensor, "get"):
            return self.tensor.get()
        return array_of(self.tensor.detach().cpu())

    def to_capsule(self) -> Any:
        """A capsule with its memory."""
        return self.tensor.__dlpack__()
