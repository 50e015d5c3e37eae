"""One server of two processes, as its clients and its operator see it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import trustme

from tests.conftest import RunningServer, WriteModel, launch
from tests.integration import handlers
from tests.integration.support import Gate, Wire, gated_request, metric, new_tag, wait_until

WHERE = """
import logging, os

class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"PID": ("INT64", [1]), "TWICE": ("INT32", [1])}

    def __call__(self, inputs):
        import numpy as np
        logging.getLogger("where").info("asked")
        return {"PID": np.array([os.getpid()]), "TWICE": inputs["IN"] * 2}
"""
SINGLE = 'parameters { key: "home" value { string_value: "single" } }'
REPLICATED = 'parameters { key: "home" value { string_value: "replicated" } }'

BODY = {"inputs": [{"name": "IN", "datatype": "INT32", "shape": [1], "data": [3]}]}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "everywhere", WHERE, REPLICATED)
    write_model(root, "at_home", WHERE, SINGLE)
    write_model(root, "gated", handlers.GATED, SINGLE)
    return root


def start(root: Path, repository: Path, *flags: str) -> RunningServer:
    return launch(root, repository, "--processes=2", *flags)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[RunningServer]:
    running = start(tmp_path_factory.mktemp("server"), repository, "--log-access")
    yield running
    assert running.stop(signal.SIGINT) == 0, running.log


def pids(server: RunningServer) -> list[int]:
    """Of all its processes, the home's first, by its banner."""
    line = re.compile(r"^Processes +2: (\d+), (\d+)$", re.MULTILINE)
    wait_until(lambda: line.search("".join(server.output)) is not None)
    [found] = line.findall("".join(server.output))
    return [int(pid) for pid in found]


def where(client: httpx.Client, model: str) -> int:
    """Which process has executed the request."""
    answer = client.post(f"/v2/models/{model}/infer", json=BODY).json()
    outputs = {each["name"]: each["data"][0] for each in answer["outputs"]}
    assert outputs["TWICE"] == 6
    return int(outputs["PID"])


def clients(server: RunningServer, stack: ExitStack, count: int) -> list[httpx.Client]:
    """So many, each with a connection of its own, which is open."""
    found = [stack.enter_context(httpx.Client(base_url=server.rest, timeout=60)) for _ in range(count)]
    for client in found:
        assert client.get("/v2/health/ready").status_code == 200
    return found


def without_connections(server: RunningServer) -> None:
    """Return when none of another test's is counted any more: a process gets connections for those that others have,
    and hears of their ends in its own time.
    """
    for number in "01":
        for protocol in ("rest", "grpc"):
            wait_until(
                lambda labels={"process": number, "protocol": protocol}: (
                    metric(server, "kserve_v2_connections", **labels) == 0
                )
            )


def alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_connections_are_spread_and_each_process_answers_for_every_model(server: RunningServer) -> None:
    home, worker = pids(server)
    without_connections(server)
    with ExitStack() as stack:
        all_clients = clients(server, stack, 8)
        open_now = {
            number: metric(server, "kserve_v2_connections", process=number, protocol="rest")
            for number in "01"
        }
        assert open_now == {"0": 4, "1": 4}
        assert Counter(where(client, "everywhere") for client in all_clients) == {home: 4, worker: 4}
        assert {where(client, "at_home") for client in all_clients} == {home}
    without_connections(server)


def test_grpc_connections_are_spread(server: RunningServer) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    asked = grpcclient.InferInput("IN", [1], "INT32")
    asked.set_data_from_numpy(np.array([3], np.int32))
    found = set()
    without_connections(server)
    with ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(grpcclient.InferenceServerClient(server.grpc, channel_args=options))
            found.add(int(client.infer("everywhere", [asked]).as_numpy("PID")[0]))
    assert found == set(pids(server))


def test_statistics_and_metrics_are_sums(server: RunningServer) -> None:
    def counted() -> tuple[int, float]:
        # In a connection that is not kept.
        [entry] = httpx.get(f"{server.rest}/v2/models/everywhere/stats", timeout=60).json()["model_stats"]
        return entry["inference_count"], metric(server, "nv_inference_request_success", model="everywhere")

    before, before_metric = counted()
    assert before == before_metric
    with ExitStack() as stack:
        for client in clients(server, stack, 4):
            where(client, "everywhere")
            where(client, "everywhere")
    assert counted() == (before + 8, before_metric + 8)


def test_lines_of_workers_say_so_and_each_request_has_one(server: RunningServer) -> None:
    def lines(word: str) -> list[str]:
        return [line for line in server.log.splitlines() if word in line]

    without_connections(server)
    with ExitStack() as stack:
        before = len(lines(" infer "))
        for client in clients(server, stack, 2):
            where(client, "everywhere")
            where(client, "at_home")
    wait_until(lambda: len(lines(" infer ")) >= before + 4)
    new = lines(" infer ")[before:]
    assert len(new) == 4
    assert len([line for line in new if " process=1" in line]) == 1


def test_settings_of_the_log_are_in_force_everywhere_when_they_are_answered(server: RunningServer) -> None:
    def asked() -> int:
        return server.log.count(" where asked")

    without_connections(server)
    with ExitStack() as stack:
        both = clients(server, stack, 2)
        before = asked()
        # It comes in by either process.
        for client, wanted in zip(both, (False, True), strict=True):
            assert client.post("/v2/logging", json={"log_info": wanted}).json()["log_info"] is wanted
            for each in both:
                where(each, "everywhere")
        # What was asked first stands in front of it, if it was logged.
        wait_until(lambda: asked() >= before + 2)
        assert asked() == before + 2


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_nothing_counted_is_lost(
    tmp_path: Path, repository: Path
) -> None:
    running = start(tmp_path, repository)
    home, worker = pids(running)
    with ExitStack() as stack:
        # The second one is the worker's.
        wires = [stack.enter_context(Wire(running)) for _ in range(2)]
        both = clients(running, stack, 2)
        for client in both * 3:
            where(client, "everywhere")
        assert metric(running, "nv_inference_request_success", model="everywhere") == 6
        os.kill(worker, signal.SIGKILL)
        assert wires[1].at_end()
        wait_until(lambda: metric(running, "kserve_v2_process_restarts", process="1") == 1)
        assert metric(running, "nv_inference_request_success", model="everywhere") == 6
        wires[0].send_infer("everywhere", BODY)
        assert wires[0].response().status_code == 200
        wait_until(lambda: "process 1 answers again" in running.log)
        # Its successor has fewer connections, so it gets the next ones.
        found = {where(client, "everywhere") for client in clients(running, stack, 2)}
    assert metric(running, "nv_inference_request_success", model="everywhere") == 9
    assert "process 1 was killed by signal 9" in running.log
    [successor] = found
    assert successor not in (home, worker)
    check_end(running, successor)


def check_end(running: RunningServer, worker: int) -> None:
    """What is under way is finished in both processes, and both end."""
    with Gate() as gate, Wire(running) as first, Wire(running) as second:
        for wire in (first, second):
            wire.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        wait_until(lambda: metric(running, "nv_inference_pending_request_count", model="gated") == 1)
        # To all of its processes, as a service manager may send it.
        os.kill(worker, signal.SIGTERM)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: requests under way are finished first" in running.log)
        gate.open()
        gate.await_start()
        gate.open()
        assert [wire.response().status_code for wire in (first, second)] == [200, 200]
    assert running.process.wait(60) == 0, running.log
    running.stop()
    assert not alive(worker)


@pytest.mark.slow
def test_workers_end_with_the_home_and_the_ports_are_free(tmp_path: Path, repository: Path) -> None:
    running = start(tmp_path, repository)
    _, worker = pids(running)
    with ExitStack() as stack:
        clients(running, stack, 2)
        assert running.stop(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: not alive(worker))
    for place in (running.rest.removeprefix("http://"), running.grpc):
        host, port = place.split(":")
        with socket.create_server((host, int(port))):
            pass


@pytest.mark.slow
def test_a_worker_that_is_stopped_holds_up_no_end(tmp_path: Path, repository: Path) -> None:
    """It is asked to finish what is under way, and runs to hear that."""
    running = start(tmp_path, repository, "--exit-timeout-secs=1000")
    os.kill(pids(running)[1], signal.SIGSTOP)
    try:
        assert running.stop() == 0
    finally:
        running.process.kill()


def all_is_read(client: socket.socket) -> bool:
    """Whether the server has read all that was sent to it."""
    # What is on its way can have been at neither end when they were looked at, one after the other; but only once.
    return _nothing_waits(client) and _nothing_waits(client)


def _nothing_waits(client: socket.socket) -> bool:
    server, own = (f":{port:04X}" for port in (client.getpeername()[1], client.getsockname()[1]))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        sending, receiving = queues.split(":")
        ends = local[-5:], remote[-5:]
        if (ends == (own, server) and int(sending, 16)) or (ends == (server, own) and int(receiving, 16)):
            return False
    return True


@pytest.mark.slow
def test_a_request_that_a_worker_has_read_is_answered_after_the_end_has_begun(
    tmp_path: Path, repository: Path
) -> None:
    """Although the home, whose model it is for, has not read all of it by then."""
    running = start(tmp_path, repository, "--http-max-input-size=100000000")
    home, worker = pids(running)
    body = json.dumps(BODY).encode().ljust(40_000_000)
    head = b"POST /v2/models/at_home/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    host, port = running.rest.removeprefix("http://").split(":")
    with ExitStack() as stack:
        found: dict[int, socket.socket] = {}
        while len(found) < 2:
            each = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
            each.sendall(b"POST /v2/models/everywhere/infer HTTP/1.1\r\nHost: x\r\n")
            text = json.dumps(BODY).encode()
            each.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
            answer = each.recv(65536)
            found[home if b'"data":[%d]' % home in answer else worker] = each
        client = found[worker]
        os.kill(home, signal.SIGSTOP)
        try:
            client.sendall(head + body)
            wait_until(lambda: all_is_read(client), 60)
            os.kill(home, signal.SIGTERM)
        finally:
            os.kill(home, signal.SIGCONT)
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert b'"data":[%d]' % home in answer
    assert running.process.wait(60) == 0, running.log
    running.stop()


@pytest.mark.slow
def test_what_is_not_finished_in_time_is_told_so_by_all_processes(tmp_path: Path, repository: Path) -> None:
    running = start(tmp_path, repository, "--exit-timeout-secs=0")
    _, worker = pids(running)
    with Gate() as gate, Wire(running) as first, Wire(running) as second:
        first.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        second.send_infer("gated", gated_request(new_tag(), gate.port))
        wait_until(lambda: metric(running, "nv_inference_pending_request_count", model="gated") == 1)
        running.process.send_signal(signal.SIGTERM)
        answers = [wire.response() for wire in (first, second)]
        assert [each.status_code for each in answers] == [503, 503]
        assert all("Server exiting" in each.json()["error"] for each in answers)
        assert running.process.wait(60) == 1
    running.stop()
    wait_until(lambda: not alive(worker))


@pytest.mark.slow
def test_a_unix_socket_and_tls_are_shared_too(tmp_path: Path, repository: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    path = tmp_path / "rest"
    running = start(
        tmp_path, repository, f"--http-address=unix:{path}", "--log-format=json", "--grpc-use-ssl",
        f"--grpc-server-cert={tmp_path / 'cert.pem'}", f"--grpc-server-key={tmp_path / 'key.pem'}",
    )  # fmt: skip
    try:
        with ExitStack() as stack:
            found = set()
            for _ in range(4):
                transport = httpx.HTTPTransport(uds=str(path))
                client = stack.enter_context(httpx.Client(base_url="http://x", transport=transport))
                found.add(where(client, "everywhere"))
            assert found == set(pids(running))
        credentials = (tmp_path / "ca.pem").read_bytes()
        for _ in range(2):
            channel = grpc.secure_channel(
                running.grpc.replace("127.0.0.1", "localhost"),
                grpc.ssl_channel_credentials(credentials),
                [("grpc.use_local_subchannel_pool", 1)],
            )
            grpc.channel_ready_future(channel).result(60)
            stack.callback(channel.close)
        with stack:
            assert metric(running, "kserve_v2_connections", process="1", protocol="grpc") == 1
            # Who speaks no TLS is let go, and counted no more.
            host, port = running.grpc.split(":")
            with socket.create_connection((host, int(port))) as plain:
                plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                plain.settimeout(60)
                try:
                    while plain.recv(100):
                        pass
                except ConnectionResetError:
                    pass
        for number in "01":
            wait_until(
                lambda number=number: (
                    metric(running, "kserve_v2_connections", process=number, protocol="grpc") == 0
                )
            )
        said = [json.loads(line) for line in running.log.splitlines()]
        asked = [each for each in said if each["message"] == "asked"]
        assert sorted(each.get("process", 0) for each in asked) == [0, 0, 1, 1]
    finally:
        assert running.stop() == 0, running.log


@pytest.mark.slow
def test_a_worker_that_cannot_begin_ends_the_start(tmp_path: Path, repository: Path) -> None:
    # A module of that name, which the interpreter of each process imports first.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif any('processes/__main__' in each for each in sys.orig_argv): __import__('os')._exit(7)\n"
    )
    command = [sys.executable, "-m", "kserve_v2", "serve", str(repository), "--processes=2", "--http-port=0",
               "--grpc-port=0", "--metrics-port=0"]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert "--processes: process 1 exited with status 7" in done.stderr
