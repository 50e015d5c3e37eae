"""A server whose models run in processes of their own, and what tests need to know of these."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.support import wait_until

ALL = "--isolate=python,onnxruntime,pytorch"


@pytest.fixture(scope="session")
def isolated_server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> ExplicitServer:
    """A server that starts without models, and isolates all of them."""
    root = tmp_path_factory.mktemp("isolated")
    return ExplicitServer(start_server(root, "--model-control-mode=explicit", ALL), root, write_model)


@pytest.fixture
def isolated(isolated_server: ExplicitServer) -> Iterator[ExplicitServer]:
    """The same server; what a test has loaded is unloaded after it, and none of its processes is left then."""
    yield isolated_server
    isolated_server.unload_all()
    wait_until(lambda: children(isolated_server.server.process.pid) == [])


@pytest.fixture
def later() -> Iterator[Callable[..., "Future[Any]"]]:
    """Runs a blocking call on a thread."""
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


def children(pid: int) -> list[int]:
    """The processes of models that a server has started and that are there."""
    found = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
    return [child for child in found if not _is_the_servers(child)]


def workers(pid: int) -> list[int]:
    """The processes that answer beside the first one (`--processes`) and that are there."""
    found = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
    return [child for child in found if b"processes/__main__.py" in _command(child)]


def _is_the_servers(pid: int) -> bool:
    """Whether it is the server's guardian, or a process that answers beside the first one (`--processes`)."""
    line = _command(pid)
    return b"guardian.py" in line or b"processes/__main__.py" in line


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except OSError:
        return []


def exists(pid: int) -> bool:
    """Whether a process is there, and not only what its parent has not asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
