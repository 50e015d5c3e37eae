"""`pb_utils.Tensor`."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dlpack
from .datatypes import is_supported, wire_array
from .errors import TritonModelException


class Tensor:
    """A tensor with its name."""

    __slots__ = ("_array", "_name", "_on_device")

    def __init__(self, name: str, numpy_array: Any) -> None:
        _check_name(name)
        if not isinstance(numpy_array, np.ndarray):
            raise TypeError(f"Tensor '{name}': expected a numpy array, got {type(numpy_array).__name__}")
        if not is_supported(numpy_array.dtype):
            raise TritonModelException("NumPy dtype is not supported.")
        self._name = name
        self._array: Any = numpy_array if numpy_array.flags.c_contiguous else numpy_array.copy(order="C")
        self._on_device: dlpack.OnDevice | None = None

    def name(self) -> str:
        """Its name."""
        return self._name

    def as_numpy(self) -> Any:
        """As an array that may be written to. Texts are `bytes` in what a client, or another model, has sent."""
        if self._on_device is not None:
            raise TritonModelException("Tensor is stored in GPU and cannot be converted to NumPy.")
        if not self._array.flags.writeable:
            self._array = self._array.copy()
        return self._array

    def shape(self) -> list[int]:
        """Its shape."""
        return list(self._array.shape if self._on_device is None else self._on_device.tensor.shape)

    def is_cpu(self) -> bool:
        """Whether numpy can reach it."""
        return self._on_device is None

    def triton_dtype(self) -> int:
        """Cannot be had, as in Triton: `as_numpy().dtype` says it."""
        raise TypeError("Unable to convert function return value to a Python type: use as_numpy().dtype")

    def to_dlpack(self) -> Any:
        """A DLPack capsule with its memory."""
        if self._on_device is not None:
            return self._on_device.to_capsule()
        return dlpack.capsule_of(self._array if self._array.dtype.kind in "OS" else self.as_numpy())

    def __dlpack__(self, *, stream: Any = None, **_: Any) -> Any:
        return self.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0) if self._on_device is None else self._on_device.device

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> Tensor:
        """A tensor over the memory of a DLPack capsule, or of an object that can give one."""
        _check_name(name)
        if isinstance(tensor, np.ndarray):
            return Tensor(name, tensor)
        if dlpack.is_on_cpu(tensor):
            return Tensor(name, dlpack.array_of(tensor))
        made = Tensor(name, np.empty(0, np.uint8))
        made._on_device = dlpack.OnDevice(tensor)
        return made

    def __repr__(self) -> str:
        return f"Tensor({self._name!r}, shape={self.shape()})"


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"Tensor: expected a string as name, got {type(name).__name__}")
    if not name:
        raise TritonModelException("Tensor name cannot be an empty string.")


def received(name: str, array: Any) -> Tensor:
    """A tensor that the server has handed over: its array is as it has to be."""
    tensor = Tensor.__new__(Tensor)
    tensor._name, tensor._array, tensor._on_device = name, array, None
    return tensor


def sent(tensor: Tensor) -> Any:
    """The array that the server gets. Raises TritonModelException."""
    array = tensor._array if tensor._on_device is None else tensor._on_device.to_array()
    return wire_array(tensor._name, array)
