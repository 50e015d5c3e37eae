"""How many GPUs the NVIDIA driver shows this process, asked without importing a framework."""

import ctypes
import functools
import sys

_SUCCESS = 0


@functools.cache
def visible_gpus() -> int:
    """Number of CUDA devices, after CUDA_VISIBLE_DEVICES; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != _SUCCESS or driver.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS:
        return 0
    return count.value
