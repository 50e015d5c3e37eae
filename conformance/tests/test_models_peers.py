"""How peers are started, waited for and stopped, with a small server in their place."""

import importlib.util
import socket
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parent.parent / "peers"

# Not ready for the first two questions; the second argument is the port of the other protocol.
SERVER = """
import http.server, socket, sys
other = socket.create_server(("127.0.0.1", int(sys.argv[2])))
class Handler(http.server.BaseHTTPRequestHandler):
    questions = 0
    def do_GET(self):
        Handler.questions += 1
        self.send_response(200 if Handler.questions > 2 else 503)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _load(name: str):
    """A script beside the suite, as a module."""
    spec = importlib.util.spec_from_file_location(name, PEERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield _load("peer")
    del sys.modules["peer"]


def _place(peer, directory: Path):
    return peer.Place(directory / ".venv", directory, (), *peer._free_ports(3))


@pytest.mark.slow
def test_waits_until_the_server_is_ready_and_stops_it(peer, tmp_path: Path):
    place = _place(peer, tmp_path)
    command = peer.Command([sys.executable, "-c", SERVER, str(place.http_port), str(place.grpc_port)])
    with peer._serving(command, place, tmp_path / "log") as process:
        assert process.poll() is None
    assert process.returncode is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", place.http_port))


@pytest.mark.slow
def test_shows_the_log_of_a_server_that_does_not_start(peer, tmp_path: Path):
    command = peer.Command([sys.executable, "-c", "raise SystemExit('no such option')"])
    with (
        pytest.raises(RuntimeError, match="did not become ready:\nno such option"),
        peer._serving(command, _place(peer, tmp_path), tmp_path / "log"),
    ):
        pass


def test_every_peer_has_a_script_and_pinned_requirements(peer):
    for name in peer.PEERS:
        assert (PEERS / f"run_{name.replace('-', '_')}.py").is_file()
        if name != "kserve-v2":
            lines = (PEERS / f"{name}.txt").read_text().splitlines()
            assert all("==" in line for line in lines if not line.startswith(("#", "--")))


def test_tritonserver_loads_all_models_but_those_for_the_repository_cases(peer, tmp_path: Path):
    written = peer.write("triton", tmp_path / "models")
    place = peer.Place(tmp_path / ".venv", tmp_path / "models", written, 8000, 8001, 8002)
    arguments = _load("run_triton").command(place).arguments
    assert "--load-model=add_sub" in arguments
    assert "--load-model=loadable" not in arguments
    assert "--http-port=8000" in arguments
    assert "--grpc-port=8001" in arguments
