"""Servers of Triton's Python models: each test runs with the models in the server's process, and in their own."""

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer
from tests.wire.servers import TARGET_IS_TRITON, start

MODELS = Path(__file__).parent.parent / "triton_models"

ISOLATIONS = ["none", "process"] if not TARGET_IS_TRITON else ["tritonserver"]
"""Where the models run. With WIRE_TARGET=triton, as for tests/wire, in the real tritonserver: see the Makefile."""

CopyModels = Callable[..., Path]


def isolated(directory: Path, isolation: str) -> None:
    """Have the model in this directory run where `isolation` says."""
    config = directory / "config.pbtxt"
    text = config.read_text() if config.exists() else ""
    parameter = f'parameters {{ key: "isolation" value {{ string_value: "{isolation}" }} }}\n'
    if isolation != "tritonserver":
        config.write_text(text + parameter)


@pytest.fixture(scope="session")
def copy_models(tmp_path_factory: pytest.TempPathFactory) -> CopyModels:
    """Makes a repository of some of the example models: `copy_models(isolation, *sorted(names))`."""

    def copy(isolation: str, *names: str) -> Path:
        root = tmp_path_factory.mktemp("triton")
        for name in names:
            shutil.copytree(MODELS / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            isolated(root / name, isolation)
        return root

    return copy


@pytest.fixture(scope="session", params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> str:
    """Where the models run."""
    where: str = request.param
    return where


@pytest.fixture(scope="session")
def serve(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts servers; see `start_server`."""
    if not TARGET_IS_TRITON:
        yield start_server
        return
    servers: list[RunningServer] = []

    def start_triton(repository: Path, *flags: str) -> RunningServer:
        servers.append(start(tmp_path_factory.mktemp("tritonserver"), repository, *flags))
        return servers[-1]

    yield start_triton
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def examples(isolation: str, copy_models: CopyModels, serve: StartServer) -> Iterator[RunningServer]:
    """A server of all example models."""
    names = {path.name for path in MODELS.iterdir() if path.is_dir()} - {"rate_limited"}
    # What they need that is not there.
    for module, model in (("PIL", "preprocessing"), ("torch", "instance_kind"), ("jax", "jax_add_sub")):
        if TARGET_IS_TRITON or find_spec(module) is None:
            names.discard(model)
    yield serve(copy_models(isolation, *sorted(names)))
