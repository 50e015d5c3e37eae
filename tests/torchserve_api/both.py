"""A real TorchServe and this server, side by side, with the same model store: for the comparison of their answers and for
that of their speed.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

INFERENCE, MANAGEMENT, METRICS = "inference", "management", "metrics"
START_SECONDS = 120
# What only TorchServe has to be told.
_THEIRS = "metrics_mode=prometheus\n"


class Side(NamedTuple):
    """A server: what listens where by its name, and its first process."""

    urls: dict[str, str]
    pid: int


@contextmanager
def both(
    torchserve: str, folder: Path, models: Sequence[str], properties: str
) -> Iterator[tuple[Side, Side]]:
    """TorchServe and this server, which serve archives of `folder`/store. `torchserve`: the program. `models`: the archives that both load. `properties`: what both are configured with."""
    theirs, ours = folder / "theirs", folder / "ours"
    common = [
        "--model-store",
        str(folder / "store"),
        "--ts-config",
        "config.properties",
        "--enable-model-api",
    ]
    their_urls, our_urls = _configure(theirs, properties + _THEIRS), _configure(ours, properties)
    their_command = [torchserve, "--start", "--ncs", "--foreground", "--disable-token-auth", *common]
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    our_command = [sys.executable, "-m", "kserve_v2", "serve", "--torchserve", *ports, *common]
    path = f"{Path(torchserve).resolve().parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "LOG_LOCATION": str(theirs / "logs"), "PATH": path, "TMPDIR": str(theirs)}
    with (
        _running([*their_command, "--models", *models], theirs, environ) as their_pid,
        _running([*our_command, "--models", ",".join(models)], ours, dict(os.environ)) as our_pid,
    ):
        for urls, log in ((their_urls, theirs / "log"), (our_urls, ours / "log")):
            _await(urls[MANAGEMENT], models, log)
        yield Side(their_urls, their_pid), Side(our_urls, our_pid)


def _configure(folder: Path, properties: str) -> dict[str, str]:
    folder.mkdir()
    ports = [_free_port() for _ in range(5)]
    names = (INFERENCE, MANAGEMENT, METRICS)
    urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)}
    lines = [f"{name}_address={url}" for name, url in urls.items()]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}", properties]
    (folder / "config.properties").write_text("\n".join(lines))
    grpc = {f"{name} gRPC": f"127.0.0.1:{port}" for name, port in zip(names, ports[3:], strict=False)}
    return urls | grpc


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def _running(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[int]:
    """The process's number."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)


def _await(url: str, models: Sequence[str], log: Path) -> None:
    """Wait until all models have a worker. Raises SystemExit."""
    deadline = time.monotonic() + START_SECONDS
    names = [model.removesuffix(".mar") for model in models]
    while time.monotonic() < deadline:
        try:
            found: list[Any] = [httpx.get(f"{url}/models/{name}").json() for name in names]
            if all(each[0]["workers"][0]["status"] == "READY" for each in found):
                return
        except (httpx.HTTPError, ValueError, LookupError):
            pass
        time.sleep(0.5)
    raise SystemExit(f"{url}: the models were not ready in {START_SECONDS} s:\n{log.read_text()[-5000:]}")
