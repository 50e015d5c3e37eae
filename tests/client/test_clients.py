"""Clients themselves: their addresses, time-outs, TLS, control calls, and what they share a process with."""

import asyncio
import inspect
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from kserve_v2.client import (
    AsyncClient,
    AsyncResultStream,
    Client,
    DeadlineExceededError,
    ErrorCode,
    InvalidArgumentError,
    NoServerError,
    NotFoundError,
    RequestCancelledError,
    ResultStream,
    UnavailableError,
    UnreachableError,
    UnsupportedError,
)
from kserve_v2.client.address import read_address
from tests.client.conftest import make_client
from tests.conftest import RunningServer, StartServer
from tests.integration.support import Gate, executed_tags, new_tag


@pytest.mark.parametrize(
    ("text", "url", "grpc", "tls", "target"),
    [
        ("http://h:8000", "http://h:8000", False, False, "h:8000"),
        ("http://h:8000/", "http://h:8000", False, False, "h:8000"),
        ("https://h/models/", "https://h/models", False, True, "h"),
        ("h:8000", "http://h:8000", False, False, "h:8000"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001", False, False, "127.0.0.1:8001"),
        ("grpc://h:8001", "grpc://h:8001", True, False, "h:8001"),
        ("grpcs://[::1]:8001", "grpcs://[::1]:8001", True, True, "[::1]:8001"),
        ("unix:/run/s", "unix:/run/s", False, False, "unix:/run/s"),
        ("grpc+unix:/run/s", "grpc+unix:/run/s", True, False, "unix:/run/s"),
    ],
)
def test_addresses(text: str, url: str, grpc: bool, tls: bool, target: str) -> None:
    found = read_address(text)
    assert (found.url, found.grpc, found.tls, found.target) == (url, grpc, tls, target)


@pytest.mark.parametrize(
    "text",
    ["", "ftp://h:1", "http://", "http://h:0", "http://h:x", "http://[::1", "grpc://h", "grpc://h:1/x", "unix:",
     "unix:relative", "unix://h/x", "http://u:p@h", "http://h?x=1", "file:///etc/passwd"],
)  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Client(text)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_not_there(scheme: str) -> None:
    # Taken, and not listened on.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        for ask in (_ask_sync, _ask_async):
            with pytest.raises(UnreachableError) as error:
                ask(url)
            assert (error.value.code, error.value.url, error.value.reason) == (
                ErrorCode.UNAVAILABLE, url, "Connection refused",
            )  # fmt: skip
            assert error.value.message == (
                f"no server answers at {url}: Connection refused; start one with kserve-v2 serve, or give the client "
                "another URL"
            )


def _ask_sync(url: str) -> None:
    with Client(url) as client:
        client.live()


def _ask_async(url: str) -> None:
    async def ask() -> None:
        async with AsyncClient(url) as client:
            await client.live()

    asyncio.run(ask())


def test_the_other_protocol_s_port(server: RunningServer) -> None:
    with (
        Client(f"http://{server.grpc}") as client,
        pytest.raises(NoServerError, match="give grpc://HOST:PORT"),
    ):
        client.live()
    grpc = server.rest.replace("http", "grpc")
    with (
        Client(grpc) as client,
        pytest.raises(NoServerError, match="if it is a REST port, give http://HOST:PORT"),
    ):
        client.live()


# --- time-outs and cancellation ------------------------------------------------------------------------------------


def test_the_time_of_a_call(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind, timeout=0.3)
    with Gate() as gate:
        with pytest.raises(DeadlineExceededError, match=r"has not answered within 0.3 s") as error:
            client.infer("gated", PORT=[[gate.port]], TAG=[[new_tag()]])
        assert isinstance(error.value, TimeoutError)
        with pytest.raises(DeadlineExceededError, match=r"within 0.2 s"):
            client.infer("gated", PORT=[[gate.port]], TAG=[[new_tag()]], timeout=0.2)
    # Others go on.
    assert client.infer("two", A=[1, 2], B=[3, 4], timeout=None)["X"].tolist() == [4, 6]
    client.close()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_says_nothing(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2) as client, pytest.raises(DeadlineExceededError):
            client.live()


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_a_task_that_is_cancelled_cancels_its_request(server: RunningServer, kind: str) -> None:
    cancelled = new_tag()

    async def run() -> None:
        url = server.rest if kind == "rest" else f"grpc://{server.grpc}"
        async with AsyncClient(url) as client:
            with Gate() as gate:
                first = asyncio.create_task(client.infer("gated", PORT=[[gate.port]], TAG=[[new_tag()]]))
                await asyncio.to_thread(gate.await_start)
                second = asyncio.create_task(client.infer("gated", PORT=[[0]], TAG=[[cancelled]]))
                # It is sent before what comes behind it is answered.
                assert await client.live()
                second.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await second
                assert await client.live()
                gate.open()
                await first

    asyncio.run(run())
    assert cancelled not in executed_tags(server, "gated")


def test_a_closed_client(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind)
    assert client.live()
    if kind.endswith("async"):
        client._runner.run(client._client.close())
    else:
        client.close()
    with pytest.raises(RequestCancelledError, match="the client is closed"):
        client.live()
    client.close()


# --- the server and its models ---------------------------------------------------------------------------------------


def test_what_a_server_says_of_itself(client: Any, kind: str) -> None:
    assert (client.live(), client.ready(), client.ready("two"), client.ready("two", version=1)) == (True,) * 4
    assert not client.ready("nobody")
    assert client.metadata()["name"] == "kserve-v2"
    assert client.metadata("versions")["versions"] == ["1", "2"]
    assert client.metadata("two")["inputs"] == [
        {"name": name, "datatype": "INT32", "shape": [-1, 2]} for name in "AB"
    ]
    assert client.config("two")["max_batch_size"] == 4
    [entry] = [each for each in client.models() if each["name"] == "two"]
    assert entry == {"name": "two", "version": "1", "state": "READY"}
    client.infer("two", A=[1, 2], B=[3, 4])
    [statistics] = client.statistics("two")
    assert statistics["inference_count"] >= 1
    assert statistics["inference_stats"]["success"]["ns"] > 0
    assert {each["name"] for each in client.statistics()} >= {"two", "versions"}
    assert [each["version"] for each in client.statistics("versions", version="2")] == ["2"]
    if kind.startswith("rest"):
        assert client.release("versions")["ready_versions"] == ["1", "2"]
    else:
        with pytest.raises(UnsupportedError, match="over REST"):
            client.release("versions")


def test_answers_are_the_same_over_both_protocols(server: RunningServer) -> None:
    with Client(server.rest) as rest, Client(f"grpc://{server.grpc}") as grpc:
        assert rest.metadata() == grpc.metadata()
        assert rest.metadata("classes").items() <= grpc.metadata("classes").items()
        assert rest.config("classes") == grpc.config("classes")
        assert rest.models() == grpc.models()
        assert rest.statistics("classes") == grpc.statistics("classes")


def test_models_come_and_go(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind, retries=0)
    client.unload("parameters")
    assert not client.ready("parameters")
    with pytest.raises((NotFoundError, UnavailableError)):
        client.infer("parameters", x=1)
    assert [each for each in client.models(ready=True) if each["name"] == "parameters"] == []
    client.load("parameters")
    assert client.ready("parameters")
    with pytest.raises(NotFoundError, match="failed to load 'nobody'"):
        client.load("nobody")
    with pytest.raises(InvalidArgumentError, match="config: it is no JSON"):
        client.load("two", config={"a": object()})
    client.close()


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(
    start_server: StartServer, client_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server that wants certificates, and the files for its clients."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, issued in (
        ("server", authority.issue_cert("localhost", "127.0.0.1")),
        ("client", authority.issue_cert("me@here")),
    ):
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(folder / f"{name}.pem", append=number > 0)
    flags = []
    for port in ("http", "grpc"):
        flags += [
            f"--{port}-use-ssl", f"--{port}-server-cert", str(folder / "server.pem"), f"--{port}-server-key",
            str(folder / "server.key"), f"--{port}-use-ssl-mutual", f"--{port}-root-cert", str(folder / "ca.pem"),
        ]  # fmt: skip
    server = start_server(client_repository, "--model-control-mode=explicit", "--load-model=two", *flags)
    files = {
        "ca_file": folder / "ca.pem",
        "cert_file": folder / "client.pem",
        "key_file": str(folder / "client.key"),
    }
    rest = server.rest if server.rest.startswith("https") else server.rest.replace("http", "https")
    yield {"rest": rest, "grpc": f"grpcs://{server.grpc}"}, files


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_certificates(tls: Any, protocol: str) -> None:
    urls, files = tls
    url = urls[protocol]
    with Client(url, **files) as client:
        assert client.infer("two", A=[1, 2], B=[3, 4])["X"].tolist() == [4, 6]

    async def ask() -> Any:
        async with AsyncClient(url, **files) as client:
            return await client.infer("two", A=[1, 2], B=[3, 4])

    assert asyncio.run(ask())["Y"].tolist() == [-2, -2]
    # Its authority is not known to the system.
    with Client(url, cert_file=files["cert_file"], key_file=files["key_file"]) as client:
        with pytest.raises(UnreachableError) as error:
            client.live()
        assert protocol == "grpc" or "give its authority as ca_file" in error.value.reason
    with Client(url, ca_file=files["ca_file"]) as client, pytest.raises(UnavailableError):
        client.live()


def test_files_for_tls_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("none")
    for options, problem in (
        ({"ca_file": tmp_path / "no"}, "ca_file: there is no file"),
        ({"cert_file": path}, "cert_file and key_file belong together"),
        ({"ca_file": path}, "the files for TLS cannot be used"),
    ):
        with pytest.raises(InvalidArgumentError, match=problem):
            Client("https://127.0.0.1:1", **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="ca_file is for a server with TLS"):
        Client("http://127.0.0.1:1", ca_file=path)


# --- what a client is made of ------------------------------------------------------------------------------------------


def test_both_kinds_of_client_have_the_same_methods() -> None:
    for sync, other in ((Client, AsyncClient), (ResultStream, AsyncResultStream)):
        public = {name for name in vars(sync) if not name.startswith("_")}
        assert public == {name for name in vars(other) if not name.startswith("_")}
        for name in public:
            here, there = getattr(sync, name), getattr(other, name)
            assert inspect.iscoroutinefunction(there), name
            theirs = str(inspect.signature(there)).replace("client.aio.Async", "client.sync.")
            assert str(inspect.signature(here)) == theirs, name
            assert inspect.getdoc(here) == inspect.getdoc(there), name
    assert str(inspect.signature(Client)) == str(inspect.signature(AsyncClient))


@pytest.mark.slow
def test_the_client_imports_no_server_and_no_framework() -> None:
    code = (
        "import sys, kserve_v2.client as c; c.Client('http://127.0.0.1:1'); "
        "print(*sorted(n for n in sys.modules if n.startswith('kserve_v2.') and n.count('.') == 1)); "
        "names = ('fastapi', 'starlette', 'uvicorn', 'grpc', 'torch', 'PIL', 'onnxruntime'); "
        "print([n for n in names if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == [
        "kserve_v2._generated kserve_v2.client kserve_v2.errors kserve_v2.protobuf_json kserve_v2.tensors",
        "[]",
    ]


def test_tritonclient_in_the_same_process(server: RunningServer) -> None:
    # It has messages of the same names, in protobuf's own pool; see kserve_v2._generated._pool.
    import tritonclient.grpc as triton  # noqa: PLC0415

    tensors = []
    for name in "AB":
        tensor = triton.InferInput(name, [1, 2], "INT32")
        tensor.set_data_from_numpy(np.array([[1, 2]], np.int32))
        tensors.append(tensor)
    with triton.InferenceServerClient(server.grpc) as theirs, Client(f"grpc://{server.grpc}") as ours:
        assert theirs.infer("two", tensors).as_numpy("X").tolist() == [[2, 4]]
        assert ours.infer("two", A=[1, 2], B=[1, 2])["X"].tolist() == [2, 4]


@pytest.mark.slow
def test_unix_sockets(start_server: StartServer, client_repository: Path, tmp_path: Path) -> None:
    rest, grpc = (f"unix:{tmp_path / name}" for name in ("rest", "grpc"))
    flags = (
        f"--http-address={rest}",
        f"--grpc-address={grpc}",
        "--model-control-mode=explicit",
        "--load-model=two",
    )
    start_server(client_repository, *flags)
    for url in (rest, f"grpc+{grpc}"):
        with Client(url) as client:
            assert client.infer("two", A=[1, 2], B=[3, 4])["X"].tolist() == [4, 6]

        async def ask(url: str = url) -> Any:
            async with AsyncClient(url) as client:
                return await client.infer("two", A=[1, 2], B=[3, 4])

        assert asyncio.run(ask())["Y"].tolist() == [-2, -2]
