"""How libcudart is found, and how it is called: each case in a process of its own, because libraries stay loaded."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_v2.memory.cuda import _ALIGNMENT
from tests.cuda.conftest import CUDART, MakeMemory

FIND = """
from kserve_v2.memory.cuda import CudaUnavailableError, find_runtime
try:
    runtime = find_runtime()
    print(runtime.library, runtime.device_count)
except CudaUnavailableError as error:
    print(error)
"""


def run(code: str, libraries: Path, *arguments: str, **environment: str) -> str:
    """What a process prints that finds libraries in a folder."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": str(libraries), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def installed(library: str) -> bool:
    """Whether the system itself has a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_a_library_on_the_path(standin: Path) -> None:
    assert run(FIND, standin, CUDA_VISIBLE_DEVICES="0,1") == f"{CUDART} 2"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["cu13", "cuda_runtime"])
def test_a_library_in_a_wheel(standin: Path, tmp_path: Path, folder: str) -> None:
    # The driver is on the system's path.
    (tmp_path / "libcuda.so.1").symlink_to(standin / "libcuda.so.1")
    wheel = tmp_path / "site" / "nvidia" / folder / "lib"
    wheel.mkdir(parents=True)
    library = wheel / "libcudart.so.12"
    library.symlink_to(standin / CUDART)
    found = run(FIND, tmp_path, CUDA_VISIBLE_DEVICES="0,1", PYTHONPATH=str(tmp_path / "site"))
    assert found == f"{library} 2"


@pytest.mark.slow
def test_no_device(standin: Path) -> None:
    # The system's own libraries may have something to say after that.
    assert run(FIND, standin, CUDA_VISIBLE_DEVICES="").startswith(
        f"{CUDART}: cudaGetDeviceCount: no CUDA-capable device is detected (CUDA error 100)"
    )


@pytest.mark.slow
@pytest.mark.skipif(installed("libcuda.so.1"), reason="there is an NVIDIA driver")
def test_no_driver(standin: Path, tmp_path: Path) -> None:
    (tmp_path / CUDART).symlink_to(standin / CUDART)
    assert run(FIND, tmp_path) == "no NVIDIA driver: libcuda.so.1 was not found"


@pytest.mark.slow
def test_a_file_that_is_no_library_is_passed_over(standin: Path, tmp_path: Path) -> None:
    (tmp_path / CUDART).write_bytes(b"not a library")
    (tmp_path / "libcudart.so.12").symlink_to(standin / CUDART)
    (tmp_path / "libcuda.so.1").symlink_to(standin / "libcuda.so.1")
    assert run(FIND, tmp_path, CUDA_VISIBLE_DEVICES="0,1") == "libcudart.so.12 2"


# A client's handle as argument. Device 1 is this thread's own; the regions are on device 0.
CALLS = """
import ctypes, sys
import numpy as np
from kserve_v2.memory.cuda import CudaRegion, CudaRegionStatus, find_runtime
from kserve_v2.errors import InvalidArgumentError

runtime = find_runtime()
cudart, device = ctypes.CDLL(runtime.library), ctypes.c_int()
assert cudart.cudaSetDevice(1) == 0

def state():
    cudart.cudaGetDevice(ctypes.byref(device))
    return device.value, cudart.cudaGetLastError()

region = CudaRegion(CudaRegionStatus("r", 0, 64), bytes.fromhex(sys.argv[1]), runtime)
print(state())
region.write(1, bytes(range(9)))
region.write(0, b"")
copies = [region.read(1, size) for size in range(1, 10)]
print(all(bytes(copy) == bytes(range(len(copy))) for copy in copies))
print({np.frombuffer(copy, np.uint8).ctypes.data % ALIGNMENT for copy in copies})
copies[0][0] = 7
print(bytes(region.read(1, 1)), state())
try:
    CudaRegion(CudaRegionStatus("r", 0, 64), bytes(64), runtime)
except InvalidArgumentError:
    print(state())
del region
with open("/proc/self/maps") as maps:
    print("/cuda_standin_" in maps.read(), state())
"""


@pytest.mark.slow
def test_calls_leave_the_thread_as_it_was(standin: Path, make_memory: MakeMemory) -> None:
    handle = make_memory(64).raw_handle.hex()
    code = CALLS.replace("ALIGNMENT", str(_ALIGNMENT))
    assert run(code, standin, handle, CUDA_VISIBLE_DEVICES="0,1").splitlines() == [
        "(1, 0)",
        "True",
        "{0}",
        "b'\\x00' (1, 0)",
        "(1, 0)",
        "False (1, 0)",
    ]
