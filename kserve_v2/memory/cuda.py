"""CUDA shared memory: allocations that client processes made on GPUs of this machine, opened by their IPC handles.

libcudart is called through ctypes, so that the server needs no framework and starts where there is no CUDA. Tensors
are copied: inputs from the device to host memory, outputs from host memory to the device.

The event loop makes these calls and waits for them: while a tensor is copied, nobody else is served. Copies go through
a stream of their own, so they wait for the bytes but not for the kernels that models run meanwhile.

Functions and constants as in NVIDIA's "CUDA Runtime API", sections Device, Stream and Memory Management.
"""

import ctypes
import importlib.util
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError

logger = logging.getLogger(__name__)

HANDLE_BYTES = 64
"""Size of a cudaIpcMemHandle_t."""

_DRIVER = "libcuda.so.1"
_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
# Where NVIDIA's wheels put the library, in the package `nvidia`: of CUDA 13, and of those before.
_WHEEL_FOLDERS = ("cu13/lib", "cuda_runtime/lib")

_LAZY_ENABLE_PEER_ACCESS = 1  # cudaIpcMemLazyEnablePeerAccess
_NON_BLOCKING = 1  # cudaStreamNonBlocking
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2  # cudaMemcpyKind

# cudaErrorInvalidValue, cudaErrorInvalidDevice, cudaErrorDeviceUninitialized and cudaErrorInvalidResourceHandle: when
# a handle is opened, these say that it is wrong.
_WRONG_HANDLE = (1, 101, 201, 400)

# As models want their inputs.
_ALIGNMENT = 64


class _IpcHandle(ctypes.Structure):
    """cudaIpcMemHandle_t, which is passed by value."""

    _fields_: ClassVar = [("reserved", ctypes.c_ubyte * HANDLE_BYTES)]


_ADDRESS = ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (ctypes.POINTER(ctypes.c_int),),
    "cudaGetDevice": (ctypes.POINTER(ctypes.c_int),),
    "cudaSetDevice": (ctypes.c_int,),
    "cudaIpcOpenMemHandle": (_ADDRESS, _IpcHandle, ctypes.c_uint),
    "cudaIpcCloseMemHandle": (ctypes.c_void_p,),
    "cudaStreamCreateWithFlags": (_ADDRESS, ctypes.c_uint),
    "cudaStreamSynchronize": (ctypes.c_void_p,),
    "cudaMemcpyAsync": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p),
    "cudaGetLastError": (),
    "cudaGetErrorString": (ctypes.c_int,),
}


class CudaError(Exception):
    """A call of the CUDA libraries failed."""

    def __init__(self, function: str, code: int, text: str) -> None:
        super().__init__(f"{function}: {text} (CUDA error {code})")
        self.code = code


class CudaUnavailableError(Exception):
    """There is no CUDA here; the text says what is missing."""


class CudaRuntime:
    """libcudart and, of the driver, the call that tells the size of an allocation.

    Each method that needs a device makes it the thread's current one for the time of the call: models may be executed
    on the same thread.
    """

    def __init__(self, library: str) -> None:
        """`library`: a path, or a name for the system to find. Raises OSError or AttributeError if it is not there,
        or not as expected; CudaError if it does not work with this machine's driver.
        """
        self.library = library
        self._cudart = ctypes.CDLL(library)
        for name, arguments in _SIGNATURES.items():
            getattr(self._cudart, name).argtypes = arguments
        self._cudart.cudaGetErrorString.restype = ctypes.c_char_p
        self._address_range = _driver_address_range()
        self._streams: dict[int, ctypes.c_void_p] = {}
        count = ctypes.c_int()
        self._call("cudaGetDeviceCount", ctypes.byref(count))
        self.device_count = count.value
        """The devices are 0 to `device_count` - 1."""

    def __repr__(self) -> str:
        return f"<CudaRuntime {self.library}, {self.device_count} devices>"

    def open(self, raw_handle: bytes, device: int) -> int:
        """Map another process's allocation; returns its address. Raises CudaError."""
        address = ctypes.c_void_p()
        handle = _IpcHandle.from_buffer_copy(raw_handle)
        with self._on(device):
            self._call("cudaIpcOpenMemHandle", ctypes.byref(address), handle, _LAZY_ENABLE_PEER_ACCESS)
        return address.value or 0

    def close(self, address: int, device: int) -> None:
        """Undo one `open`. It may be too late for errors to matter to anybody, so they are logged."""
        try:
            with self._on(device):
                self._call("cudaIpcCloseMemHandle", address)
        except CudaError as error:
            logger.warning("unable to close CUDA shared memory: %s", error)

    def bytes_from(self, address: int, device: int) -> int:
        """How many bytes the allocation has from `address` on. Raises CudaError."""
        base, size = ctypes.c_uint64(), ctypes.c_size_t()
        with self._on(device):
            code = self._address_range(ctypes.byref(base), ctypes.byref(size), address)
        if code:
            raise CudaError("cuMemGetAddressRange", code, "unable to tell the size of the allocation")
        return base.value + size.value - address

    def read(self, host: int, address: int, byte_size: int, device: int) -> None:
        """Copy from `address` on the device to `host`. Raises CudaError."""
        self._copy(host, address, byte_size, _DEVICE_TO_HOST, device)

    def write(self, address: int, host: int, byte_size: int, device: int) -> None:
        """Copy from `host` to `address` on the device. Raises CudaError."""
        self._copy(address, host, byte_size, _HOST_TO_DEVICE, device)

    def _copy(self, target: int, source: int, byte_size: int, kind: int, device: int) -> None:
        with self._on(device):
            stream = self._stream(device)
            self._call("cudaMemcpyAsync", target, source, byte_size, kind, stream)
            self._call("cudaStreamSynchronize", stream)

    def _stream(self, device: int) -> ctypes.c_void_p:
        """The stream for copies on the current device: one that does not wait for the default stream."""
        if device not in self._streams:
            stream = ctypes.c_void_p()
            self._call("cudaStreamCreateWithFlags", ctypes.byref(stream), _NON_BLOCKING)
            self._streams[device] = stream
        return self._streams[device]

    @contextmanager
    def _on(self, device: int) -> Iterator[None]:
        previous = ctypes.c_int()
        self._call("cudaGetDevice", ctypes.byref(previous))
        self._call("cudaSetDevice", device)
        try:
            yield
        finally:
            if previous.value != device:
                self._call("cudaSetDevice", previous.value)

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._cudart, function)(*arguments)
        if code:
            # Otherwise the next check of this thread, by a framework perhaps, would find our error.
            self._cudart.cudaGetLastError()
            raise CudaError(function, code, self._cudart.cudaGetErrorString(code).decode(errors="replace"))


def _driver_address_range() -> Any:
    """cuMemGetAddressRange of the driver. Raises CudaUnavailableError without one."""
    try:
        function = ctypes.CDLL(_DRIVER).cuMemGetAddressRange_v2
    except (OSError, AttributeError) as error:
        raise CudaUnavailableError(f"no NVIDIA driver: {_DRIVER} was not found") from error
    function.argtypes = (ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_size_t), ctypes.c_uint64)
    return function


def find_runtime() -> CudaRuntime:
    """The first libcudart that finds a device here: on the system's library path (LD_LIBRARY_PATH, ldconfig), or in
    NVIDIA's wheels. Raises CudaUnavailableError that says what is missing.
    """
    failures = []
    for library in _candidates():
        try:
            runtime = CudaRuntime(library)
        except (OSError, AttributeError):
            continue
        except CudaError as error:
            failures.append(f"{Path(library).name}: {error}")
            continue
        if runtime.device_count > 0:
            return runtime
        failures.append(f"{Path(library).name}: finds no device")
    raise CudaUnavailableError(
        "; ".join(failures)
        or "no CUDA runtime: libcudart.so is neither on the library path nor in NVIDIA's wheels"
    )


def _candidates() -> Iterator[str]:
    # The loader is asked directly: ctypes.util.find_library starts other programs to find out.
    yield from _SONAMES
    package = importlib.util.find_spec("nvidia")
    for place in (package and package.submodule_search_locations) or ():
        for folder in _WHEEL_FOLDERS:
            yield from sorted(map(str, Path(place, folder).glob("libcudart.so.*")), reverse=True)


@dataclass(frozen=True, slots=True)
class CudaRegionStatus:
    """What a client has registered: the first `byte_size` bytes of an allocation on a device."""

    name: str
    device_id: int
    byte_size: int


class CudaRegion:
    """One registered region. The allocation stays open until nothing refers to the region any more, neither the
    registry nor a request: it can be unregistered while it is in use.
    """

    KIND = "CUDA"

    def __init__(self, status: CudaRegionStatus, raw_handle: bytes, runtime: CudaRuntime) -> None:
        """Opens the allocation. `raw_handle`: its cudaIpcMemHandle_t. Raises InvalidArgumentError if there is no such
        device or allocation, or if it is too small; InternalError for other failures.
        """
        self.status = status
        self._runtime = runtime
        if not 0 <= status.device_id < runtime.device_count:
            raise self._refused(f"device_id is {status.device_id}, expected 0 to {runtime.device_count - 1}")
        if status.byte_size == 0:
            raise self._refused("byte_size is 0")
        try:
            self._address = runtime.open(raw_handle, status.device_id)
        except CudaError as error:
            text = f"failed to open CUDA IPC handle: {error}"
            if error.code in _WRONG_HANDLE:
                raise self._refused(text) from error
            raise InternalError(self._failure(text)) from error
        # When the process ends, the driver closes all: perhaps before this would.
        weakref.finalize(self, runtime.close, self._address, status.device_id).atexit = False
        self._check_size()

    def __repr__(self) -> str:
        return f"<CudaRegion {self.status}>"

    def _check_size(self) -> None:
        try:
            size = self._runtime.bytes_from(self._address, self.status.device_id)
        except CudaError as error:
            raise InternalError(self._failure(str(error))) from error
        if self.status.byte_size > size:
            raise self._refused(
                f"invalid args: byte_size {self.status.byte_size} is beyond the end of the allocation, which has "
                f"{size} bytes"
            )

    def read(self, offset: int, byte_size: int) -> memoryview:
        """A copy in host memory, aligned as models want it. Raises InternalError if it cannot be made."""
        memory = np.empty(byte_size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        copy = memory[start : start + byte_size]
        source = self._address + offset
        try:
            self._runtime.read(copy.ctypes.data, source, byte_size, self.status.device_id)
        except CudaError as error:
            raise self._cuda_error("read from", error) from error
        return copy.data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Copy `data` to the device. Raises InternalError if that fails."""
        if not data:
            return
        source = np.frombuffer(data, np.uint8)
        target = self._address + offset
        try:
            self._runtime.write(target, source.ctypes.data, len(source), self.status.device_id)
        except CudaError as error:
            raise self._cuda_error("write to", error) from error

    def _cuda_error(self, what: str, error: CudaError) -> ServingError:
        return InternalError(f"Unable to {what} shared memory region: '{self.status.name}': {error}")

    def _refused(self, text: str) -> InvalidArgumentError:
        return InvalidArgumentError(self._failure(text))

    def _failure(self, text: str) -> str:
        return f"failed to register CUDA shared memory region '{self.status.name}': {text}"
