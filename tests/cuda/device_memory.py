"""The client's side of CUDA shared memory: allocations made with libcudart, the real one or the stand-in."""

import ctypes
from base64 import b64encode
from pathlib import Path

import numpy as np
import tritonclient.utils

from tests.integration.support import Array

_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2


class DeviceMemory:
    """An allocation of this process on a device."""

    def __init__(self, library: Path | str, byte_size: int, device: int = 0) -> None:
        """`library`: libcudart's path or name."""
        self._cudart = ctypes.CDLL(str(library))
        self._cudart.cudaGetErrorString.restype = ctypes.c_char_p
        self.byte_size, self.device = byte_size, device
        self._address = ctypes.c_void_p()
        self._call("cudaSetDevice", device)
        self._call("cudaMalloc", ctypes.byref(self._address), ctypes.c_size_t(byte_size))

    @property
    def address(self) -> int:
        """Where it lies, in this process."""
        return self._address.value or 0

    @property
    def raw_handle(self) -> bytes:
        """Its cudaIpcMemHandle_t."""
        handle = ctypes.create_string_buffer(64)
        self._call("cudaIpcGetMemHandle", handle, self._address)
        return handle.raw

    @property
    def encoded_handle(self) -> bytes:
        """The same as tritonclient's `get_raw_handle` gives it."""
        return b64encode(self.raw_handle)

    def put(self, array: Array, offset: int = 0) -> int:
        """Write a tensor; returns its size in bytes."""
        if array.dtype == np.object_:
            array = np.frombuffer(tritonclient.utils.serialize_byte_tensor(array).item(), np.uint8)
        array = np.ascontiguousarray(array)
        self._copy(self._at(offset), array.ctypes.data_as(ctypes.c_void_p), array.nbytes, _HOST_TO_DEVICE)
        return array.nbytes

    def get(self, like: Array, offset: int = 0, byte_size: int | None = None) -> Array:
        """Read a tensor of the form of `like`, which has `byte_size` bytes, by default those of its elements."""
        host = np.empty(like.nbytes if byte_size is None else byte_size, np.uint8)
        self._copy(host.ctypes.data_as(ctypes.c_void_p), self._at(offset), host.nbytes, _DEVICE_TO_HOST)
        if like.dtype == np.object_:
            return tritonclient.utils.deserialize_bytes_tensor(host.tobytes()).reshape(like.shape)
        return host.view(like.dtype).reshape(like.shape)

    def free(self) -> None:
        """Give it back."""
        self._call("cudaFree", self._address)

    def _at(self, offset: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.address + offset)

    def _copy(self, target: ctypes.c_void_p, source: ctypes.c_void_p, byte_size: int, kind: int) -> None:
        self._call("cudaSetDevice", self.device)
        self._call("cudaMemcpy", target, source, ctypes.c_size_t(byte_size), kind)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._cudart, function)(*arguments)
        assert code == 0, f"{function}: {self._cudart.cudaGetErrorString(code).decode()}"
