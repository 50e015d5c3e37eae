"""Servers for tests: real processes on real sockets, on ports that the system chooses."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests import forked_servers
from tests.forked_servers import ForkedProcess

# Tests that use ONNX Runtime themselves tell nobody about it either.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell runs in the background has SIGINT ignored, and so would have the processes that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of what else the machine does than of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_URL_LINE = re.compile(r"^(REST|gRPC|Metrics|TorchServe \w[\w ]*\w) +(\S+)$")


# How many processes the servers of tests have that do not say it themselves.
_processes = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--processes", default="1", help="of the servers that tests start, unless a test says it itself"
    )


def pytest_configure(config: pytest.Config) -> None:
    global _processes  # noqa: PLW0603 - a test may call `launch` without a fixture
    _processes = config.getoption("--processes")


# Servers in this process collect garbage whenever a model goes. They should look at what is theirs: pytest's own objects, of
# which there are a million, would take a second each time.
gc.unfreeze = lambda: None


@pytest.fixture(autouse=True, scope="module")
def nobodys_garbage() -> None:
    """What is alive before the tests of a module is left alone by the collector."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After a failure, let go of what the failed tests had open, and say nothing about it: a traceback about a socket
    would stand where the summary is looked for.
    """
    if session.testsfailed:
        for name in ("last_exc", "last_value", "last_traceback"):
            if hasattr(sys, name):
                delattr(sys, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@dataclass
class RunningServer:
    """One server process that answers."""

    process: subprocess.Popen[str] | ForkedProcess
    output: list[str]
    log_path: Path
    urls: dict[str, str]
    reader: threading.Thread
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120))
    asked_to_stop: bool = False

    @property
    def rest(self) -> str:
        """`http://host:port`"""
        return self.urls["REST"]

    @property
    def grpc(self) -> str:
        """`host:port`"""
        return self.urls["gRPC"]

    @property
    def metrics(self) -> str:
        """URL of the metrics."""
        return self.urls["Metrics"]

    @property
    def log(self) -> str:
        """What the server has written to stderr so far."""
        return self.log_path.read_text()

    def get(self, path: str) -> httpx.Response:
        """GET from the REST port."""
        return self.client.get(self.rest + path)

    def post(self, path: str, **options: object) -> httpx.Response:
        """POST to the REST port; options as httpx takes them."""
        return self.client.post(self.rest + path, **options)  # type: ignore[arg-type]

    def infer(self, model: str, body: object) -> httpx.Response:
        """One inference request in JSON."""
        return self.post(f"/v2/models/{model}/infer", json=body)

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, if it has had none: a second one would end it there and then. It would wait for the client."""
        self.client.close()
        if not self.asked_to_stop and self.process.poll() is None:
            self.process.send_signal(number)
        self.asked_to_stop = True

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server by a signal; returns its exit status."""
        self.ask_to_stop(number)
        status = self.process.wait(60)
        self.reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


StartServer = Callable[..., RunningServer]


def launch(
    tmp_path: Path,
    repository: Path | None,
    *flags: str,
    cwd: Path | None = None,
    program: Sequence[str] = ("kserve_v2", "serve"),
) -> RunningServer:
    """Start a server on `repository`, or on what the flags name, and return it once it answers. Raises AssertionError
    with its log if it ends instead. `program`: the module to run, and what stands before the options.
    """
    log_path = tmp_path / "server.log"
    module, command = program[0], program[1:]
    arguments = [
        *command,
        *(() if repository is None else ("--model-repository", str(repository))),
        "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", *flags,
    ]  # fmt: skip
    if not any(flag.startswith("--processes") for flag in flags):
        arguments += ["--processes", _processes]
    with log_path.open("w") as log:
        process = forked_servers.start(module, arguments, log, cwd)
    output: list[str] = []
    urls: dict[str, str] = {}
    wanted = {"REST", "gRPC", "Metrics"} - {
        name
        for flag, name in (
            ("--allow-http=false", "REST"),
            ("--allow-grpc=false", "gRPC"),
            ("--allow-metrics=false", "Metrics"),
        )
        if flag in flags
    }
    if "--torchserve" in flags:
        wanted.add("TorchServe gRPC management")
    for line in process.stdout:
        output.append(line)
        match = _URL_LINE.match(line)
        if match:
            urls[match[1]] = match[2]
        if wanted <= urls.keys():
            # A pipe that nobody reads would block the server in the end.
            reader = threading.Thread(target=output.extend, args=(process.stdout,), daemon=True)
            reader.start()
            return RunningServer(process, output, log_path, urls, reader)
    process.stdout.close()
    raise AssertionError(
        f"the server ended with {process.wait()}:\n{''.join(output)}\n{log_path.read_text()}"
    )


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts servers that live until the end of the session; each must then stop cleanly."""
    servers: list[RunningServer] = []

    def start(repository: Path, *flags: str) -> RunningServer:
        server = launch(tmp_path_factory.mktemp("server"), repository, *flags)
        servers.append(server)
        return server

    yield start
    statuses = []
    # Several at a time, but not all: each has a few seconds to end in.
    for begin in range(0, len(servers), 4):
        some = servers[begin : begin + 4]
        for server in some:
            server.ask_to_stop()
        statuses += [server.stop() for server in some]
    assert statuses == [0] * len(servers)


WriteModel = Callable[..., Path]


@pytest.fixture(scope="session")
def write_model() -> WriteModel:
    """Writes a handler model into a repository: `write_model(repository, name, code, config="", version=1)`."""

    def write(repository: Path, name: str, code: str, config: str = "", version: int = 1) -> Path:
        directory = repository / name
        (directory / str(version)).mkdir(parents=True, exist_ok=True)
        (directory / str(version) / "model.py").write_text(code)
        if config:
            (directory / "config.pbtxt").write_text(config)
        return directory

    return write
