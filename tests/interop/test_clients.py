"""Client libraries, each in a process of its own: what all of them can do, in cleartext and over TLS."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Peer

HERE = Path(__file__).resolve().parent
Results = Callable[[str, Peer], dict[str, Any]]

pytestmark = pytest.mark.slow

COUNTED = [0, 1, 2, 0, 1]

EXPECTED: dict[str, Any] = {
    "unary": [1.5, -2.0, 3.0],
    # How many of 200 calls in turn were answered.
    "many": 200,
    # Letters beyond ASCII and the percent sign itself are encoded in grpc-message.
    "error": ["NOT_FOUND", "Request for unknown model: 'modèle 100%' is not found"],
    "gzip": True,
    "large": True,
    "stream": COUNTED,
    "metadata": "NOT_FOUND",
    "deadline": "DEADLINE_EXCEEDED",
    "cancel": "CANCELLED",
    "cancelled_stream": [[0, 1, 2], COUNTED],
}

_PYTHON = [sys.executable, "-W", "error"]
PROGRAMS: dict[str, list[str]] = {
    "grpcio_sync": [*_PYTHON, str(HERE / "programs" / "grpcio_sync.py")],
    "grpcio_aio": [*_PYTHON, str(HERE / "programs" / "grpcio_aio.py")],
    "grpc_js": ["node", str(HERE / "npm" / "grpc_js.js")],
    "tritonclients": [sys.executable, str(HERE / "programs" / "tritonclients.py")],
}

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "npm" / "node_modules").exists(),
    reason="needs Node.js and @grpc/grpc-js: apt-get install nodejs npm, then make test-interop",
)


@pytest.fixture(scope="session")
def results() -> Results:
    """What a program reported of a server. It runs once for each."""

    @cache
    def run(program: str, peer: Peer) -> dict[str, Any]:
        command = [*PROGRAMS[program], *peer.arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert ended.returncode == 0, ended.stderr
        return dict(json.loads(ended.stdout))

    return run


@pytest.mark.parametrize("case", EXPECTED)
@pytest.mark.parametrize("program", ["grpcio_sync", "grpcio_aio", pytest.param("grpc_js", marks=needs_node)])
@pytest.mark.parametrize("kind", ["cleartext", "tls", "short-lived"])
def test_grpc(results: Results, peers: Callable[[str], Peer], program: str, kind: str, case: str) -> None:
    assert results(program, peers(kind))[case] == EXPECTED[case]


@pytest.mark.parametrize("client", ["http", "http.aio", "grpc", "grpc.aio"])
def test_tritonclient(results: Results, peer: Peer, client: str) -> None:
    assert results("tritonclients", peer)[client] == EXPECTED["unary"]
