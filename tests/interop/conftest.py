"""The servers that the programs talk to, one in cleartext and one over TLS, and what the programs reported."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity

# Connects to PORT while it executes, and goes on when the other side closes.
HELD = """
import socket

class Model:
    inputs = {"PORT": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}

    def __call__(self, inputs):
        with socket.create_connection(("127.0.0.1", inputs["PORT"].item()), timeout=120) as gate:
            gate.recv(1)
        return {"OUT": inputs["PORT"]}
"""

# Yields 0 … N-1; one request at a time, so one that is not cancelled keeps the next from being answered. Fails below 0.
COUNT = """
import numpy as np
from kserve_v2.errors import NotFoundError

class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"I": ("INT32", [1])}

    def __call__(self, inputs):
        if inputs["N"].item() < 0:
            raise NotFoundError("there is no such number")
        for number in range(inputs["N"].item()):
            yield {"I": np.array([number], np.int32)}
"""


@dataclass(frozen=True, eq=False)
class Peer:
    """A server as another program has to be told of it; `roots` is the file that TLS is verified with."""

    server: RunningServer
    roots: Path | None

    @property
    def grpc(self) -> str:
        """`host:port`"""
        return self.server.grpc

    @property
    def grpc_url(self) -> str:
        """`scheme://host:port`"""
        return f"{'https' if self.roots else 'http'}://{self.server.grpc}"

    @property
    def rest(self) -> str:
        """`scheme://host:port`"""
        return self.server.rest

    @property
    def arguments(self) -> list[str]:
        """What every program of `programs/` is started with."""
        return [self.grpc, self.rest.partition("://")[2], str(self.roots or "")]


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """The models that all programs use."""
    root = tmp_path_factory.mktemp("interop")
    write_model(root, "id", identity("FP32", [-1]))
    write_model(root, "held", HELD)
    write_model(root, "count", COUNT)
    return root


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `server.pem`, `server.key` and `roots.pem`."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "roots.pem")
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    return folder


@pytest.fixture(scope="session")
def peers(start_server: StartServer, repository: Path, certificate: Path) -> Callable[[str], Peer]:
    """Starts the server that is asked for at its first use: `cleartext`, `tls`, or `short-lived`, whose connections end
    after 20 ms, so that clients go from one to the next all the time.
    """
    started: dict[str, Peer] = {}

    def peer(kind: str) -> Peer:
        if kind not in started:
            tls = []
            for protocol in ("http", "grpc") if kind == "tls" else ():
                tls += [f"--{protocol}-use-ssl", f"--{protocol}-server-cert={certificate / 'server.pem'}"]
                tls += [f"--{protocol}-server-key={certificate / 'server.key'}"]
            age = ["--grpc-max-connection-age=20"] if kind == "short-lived" else []
            # Answers are compressed for clients that take it, so that they have something to decompress.
            server = start_server(repository, "--grpc-infer-response-compression-level=low", *tls, *age)
            roots = certificate / "roots.pem" if tls else None
            if roots:
                server.client.close()
                server.client = httpx.Client(verify=ssl.create_default_context(cafile=roots))
            started[kind] = Peer(server, roots)
        return started[kind]

    return peer


@pytest.fixture(scope="session", params=["cleartext", "tls"])
def peer(peers: Callable[[str], Peer], request: pytest.FixtureRequest) -> Peer:
    """Cleartext and TLS."""
    return peers(request.param)
