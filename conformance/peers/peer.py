"""What the scripts beside this file share: make a server's environment, start it with the test models, run the suite.

Nothing but a Python 3.11, PyPI and the suite is needed. Each peer's environment is made once, as `.venv-NAME` beside
this file, from the pinned requirements in NAME.txt.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = HERE.parent
sys.path.insert(0, str(SUITE))

from kserve_v2_conformance.models import how_to_start, write  # noqa: E402 - the suite need not be installed
from kserve_v2_conformance.models.catalogue import ModelSpec  # noqa: E402

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 40
PEERS = ("kserve-v2", "triton", "mlserver", "kserve", "torchserve")
POLL_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Place:
    """Where one run of a peer happens: its environment, the models written for it, and its ports."""

    environment: Path
    models: Path
    written: tuple[ModelSpec, ...]
    http_port: int
    grpc_port: int
    metrics_port: int
    spare_ports: tuple[int, ...] = ()

    @property
    def packages(self) -> Path:
        """The environment's site-packages."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.environment / "lib" / version / "site-packages"

    def program(self, name: str) -> str:
        """A program of the environment."""
        return str(self.environment / "bin" / name)


@dataclass(frozen=True)
class Command:
    """How the server is started. `variables`: what its process environment has besides this one's."""

    arguments: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """A server to compare with. `name`: of the form of its models, of its requirements and of its environment.

    `installed`: it is there already, and needs no environment of its own. `prepare` completes a new environment,
    `clean_up` removes what a server that was killed leaves behind.
    """

    name: str
    command: Callable[[Place], Command]
    installed: bool = False
    prepare: Callable[[Place], None] = lambda place: None
    clean_up: Callable[[Place], None] = lambda place: None


def main(peer: Peer) -> None:
    """Run the suite against `peer`, with the command line's arguments for `conformance run`; exit with its status."""
    parser = argparse.ArgumentParser(
        description=f"Run the suite against {peer.name}.",
        epilog="All other arguments go to `conformance run`.",
    )
    parser.add_argument("--serve", action="store_true", help="only start the server, until interrupted")
    parser.add_argument(
        "--server-option",
        action="append",
        default=[],
        help="given to the server, e.g. --server-option=--processes=2",
    )
    options, suite_arguments = parser.parse_known_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that the server is stopped
    with (
        tempfile.TemporaryDirectory(prefix=f"conformance-{peer.name}-") as work,
        _place(peer, Path(work)) as place,
    ):
        if not peer.installed:
            _install(peer, place)
        log = Path(work) / "server.log"
        command = peer.command(place)
        command = replace(command, arguments=[*command.arguments, *options.server_option])
        with _serving(command, place, log) as process:
            rest, grpc = f"http://127.0.0.1:{place.http_port}", f"127.0.0.1:{place.grpc_port}"
            if options.serve:
                print(f"{peer.name}: REST {rest}, gRPC {grpc}", flush=True)
                sys.exit(process.wait())
            status = _run_suite("--rest", rest, "--grpc", grpc, *_profile(peer), *suite_arguments)
            if process.poll() is not None:
                print(
                    f"{peer.name} ended by itself, with {process.returncode}. The end of its log:\n{_end_of(log)}"
                )
            sys.exit(status)


def documented_start(server: str, place: Place) -> list[str]:
    """The arguments with which `conformance models` says that the server is to be started."""
    start, *_ = how_to_start(server, place.models, place.written)
    _, *arguments = shlex.split(start)
    return arguments


def _profile(peer: Peer) -> list[str]:
    """The argument for the profile that the suite ships for this server, if it does."""
    shipped = SUITE / "kserve_v2_conformance" / "profiles" / f"{peer.name}.toml"
    return ["--profile", str(shipped)] if shipped.is_file() else []


def _run_suite(*arguments: str) -> int:
    command = [sys.executable, "-m", "kserve_v2_conformance", "run", *arguments]
    return subprocess.run(command, env=suite_environment(), check=False).returncode  # noqa: S603


def suite_environment() -> dict[str, str]:
    """Variables under which the suite is found where it lies; it need not be installed."""
    paths = filter(None, [str(SUITE), os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def _place(peer: Peer, work: Path) -> Iterator[Place]:
    models = work / "models"
    written = write(peer.name, models, broken=True)
    http, grpc, metrics, *spare = _free_ports(5)
    place = Place(HERE / f".venv-{peer.name}", models, written, http, grpc, metrics, tuple(spare))
    try:
        yield place
    finally:
        peer.clean_up(place)


def _install(peer: Peer, place: Place) -> None:
    """Make the environment if it is missing or its requirements have changed.

    Raises CalledProcessError if pip fails.
    """
    requirements = HERE / f"{peer.name}.txt"
    stamp = place.environment / "requirements.stamp"
    if stamp.is_file() and stamp.read_text() == requirements.read_text():
        return
    print(f"{peer.name}: making {place.environment.name}", flush=True)
    venv.create(place.environment, with_pip=True, clear=True)
    pip = [place.program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "-r", str(requirements)], check=True)  # noqa: S603 - our own requirements
    peer.prepare(place)
    stamp.write_text(requirements.read_text())


@contextmanager
def _serving(command: Command, place: Place, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The server's process, once it is ready; it is stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a program of an environment that we made
            command.arguments,
            env={**os.environ, **command.variables},
            cwd=place.models,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, place, log)
            yield process
        finally:
            _stop(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", place: Place, log: Path) -> None:
    """Ask until the server is ready. Raises RuntimeError with the end of its log where it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _is_ready(place):
        try:
            process.wait(POLL_INTERVAL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        raise RuntimeError(f"the server did not become ready:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


def _is_ready(place: Place) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.http_port}/v2/health/ready", timeout=5):
            pass
        socket.create_connection(("127.0.0.1", place.grpc_port), timeout=5).close()
    except OSError:  # refused, or answered with an error status
        return False
    return True


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server, and what it has started, which it may leave behind."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
