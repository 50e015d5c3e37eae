"""A server that finds the stand-in for CUDA, and the means to start one with another environment."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.cuda.device_memory import DeviceMemory
from tests.integration import handlers
from tests.integration.grpc_requests import Channel

ENABLE = "--allow-client-shm=true"
CUDART = "libcudart.so.13"
SOURCE = Path(__file__).parent / "standin.c"

MakeMemory = Callable[..., DeviceMemory]


def pytest_configure(config: pytest.Config) -> None:
    """The mark of tests that need a GPU."""
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU and PyTorch with CUDA; skipped without")


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-in under the names that the server asks the loader for."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler named cc")
    folder = tmp_path_factory.mktemp("standin")
    library = folder / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", library, SOURCE, "-lrt"], check=True)
    # The name that is looked for first.
    (folder / CUDART).symlink_to(library.name)
    return folder


@pytest.fixture(scope="session")
def cuda_repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """Models with fixed and with variable sizes."""
    root = tmp_path_factory.mktemp("models")
    for datatype in ("FP16", "INT64", "BYTES"):
        write_model(root, f"id_{datatype.lower()}", handlers.identity(datatype, [-1]))
    write_model(root, "bat", handlers.identity("FP32", [3], max_batch_size=4))
    write_model(root, "two", handlers.TWO)
    return root


@pytest.fixture(scope="session")
def start_with(start_server: StartServer, cuda_repository: Path) -> Callable[[dict[str, str]], RunningServer]:
    """Starts a server with more environment variables."""

    def start(environment: dict[str, str]) -> RunningServer:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return start_server(cuda_repository, ENABLE)

    return start


@pytest.fixture(scope="session")
def cuda_server(start_with: Callable[[dict[str, str]], RunningServer], standin: Path) -> RunningServer:
    """A server on a machine with two "devices"."""
    path = os.pathsep.join(filter(None, [str(standin), os.environ.get("LD_LIBRARY_PATH")]))
    return start_with({"LD_LIBRARY_PATH": path, "CUDA_VISIBLE_DEVICES": "0,1"})


@pytest.fixture(scope="session")
def cuda_channel(cuda_server: RunningServer) -> Iterator[Channel]:
    """A gRPC connection to it."""
    with Channel(cuda_server) as made:
        yield made


@pytest.fixture
def make_memory(standin: Path) -> Iterator[MakeMemory]:
    """Makes allocations with the stand-in; they are gone after the test."""
    made: list[DeviceMemory] = []

    def make(byte_size: int, device: int = 0) -> DeviceMemory:
        made.append(DeviceMemory(standin / CUDART, byte_size, device))
        return made[-1]

    yield make
    for each in made:
        each.free()
