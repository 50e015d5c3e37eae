"""A server in two processes, all of whose requests are forwarded; see `front`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import RunningServer, launch
from tests.processes.front import ROOT
from tests.wire.servers import HERE, MAX_INPUT_BYTES, make_repository


@dataclass
class Fronted:
    """Such a server: `server` is what clients see, by way of the worker. `home`: where to ask the home itself."""

    server: RunningServer
    worker: int
    home_rest: str
    home_grpc: str


@contextmanager
def fronted(root: Path, repository: Path, *flags: str) -> Iterator[Fronted]:
    """Start one, and stop it in the end, if it is not killed before."""
    server = launch(root, repository, *flags, cwd=ROOT, program=["tests.processes.front"])
    found = dict(line.split(maxsplit=1) for line in server.output if line.startswith(("Worker", "Home")))
    rest, grpc = found["Home"].split()
    running = Fronted(server, int(found["Worker"]), rest, grpc)
    yield running
    if server.process.poll() == -signal.SIGKILL:
        # What reads the output of both waits for its end.
        os.kill(running.worker, signal.SIGKILL)
        server.stop()
    else:
        assert server.stop() == 0, server.log


@pytest.fixture(scope="session")
def wire_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """With the models of the wire tests."""
    root = tmp_path_factory.mktemp("front")
    repository = make_repository(HERE / "models", root, identities=True)
    with fronted(root, repository, f"--http-max-input-size={MAX_INPUT_BYTES}") as running:
        yield running
