"""Both ports over TLS, with clients that verify the server and with a server that verifies its clients."""

import asyncio
import re
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import trustme
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity
from tests.integration.support import json_tensor, wait_until

pytestmark = pytest.mark.slow

# As many bytes as it is told.
LARGE = """
import numpy as np

class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"OUT": ("UINT8", [-1])}

    def __call__(self, inputs):
        return {"OUT": np.zeros(inputs["IN"][0], np.uint8)}
"""

BODY = {"inputs": [json_tensor("IN", "FP32", [3], [1.0, 2.0, 3.0])]}


class Encrypted(NamedTuple):
    """Two servers with one certificate: one for every client, one for those with a certificate. The first has gRPC on
    asyncio, the second on grpcio.
    """

    open: RunningServer
    mutual: RunningServer
    authority: trustme.CA
    roots: Path

    def context(self) -> ssl.SSLContext:
        """What a client has that trusts the authority."""
        return ssl.create_default_context(cafile=self.roots)


@pytest.fixture(scope="module")
def encrypted(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> Encrypted:
    folder, models = tmp_path_factory.mktemp("tls"), tmp_path_factory.mktemp("models")
    write_model(models, "id", identity("FP32", [-1]))
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    roots = folder / "roots.pem"
    authority.cert_pem.write_to_path(roots)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.cert")
    files = {"server-cert": folder / "server.cert", "server-key": folder / "server.key", "root-cert": roots}
    flags = [f"--{port}-{name}={path}" for port in ("http", "grpc") for name, path in files.items()]
    return Encrypted(
        start_server(models, "--http-use-ssl", "--grpc-use-ssl", *flags),
        start_server(models, "--http-use-ssl-mutual", "--grpc-use-ssl-mutual", *flags),
        authority,
        roots,
    )


def infer_over_grpc(address: str, credentials: grpc.ChannelCredentials) -> list[float]:
    """What the model answers to 1, 2, 3. Raises InferenceServerException."""
    tensor = triton_grpc.InferInput("IN", [3], "FP32")
    tensor.set_data_from_numpy(np.array([1, 2, 3], np.float32))
    client = triton_grpc.InferenceServerClient(address, ssl=True, creds=credentials)
    try:
        return list(client.infer("id", [tensor], client_timeout=60).as_numpy("OUT").tolist())
    finally:
        client.close()


def refused(get: httpx.Client, url: str) -> bool:
    """Whether the server ends the connection instead of answering."""
    # With TLS 1.3 a client learns only after its handshake that its certificate is not wanted.
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
        get.get(url)
    return True


def test_the_urls_say_so(encrypted: Encrypted) -> None:
    assert encrypted.open.rest.startswith("https://")
    wait_until(lambda: any(re.match("API docs +https://", line) for line in encrypted.open.output))


def test_an_ordinary_client(encrypted: Encrypted) -> None:
    with httpx.Client(verify=encrypted.context()) as client:
        response = client.post(f"{encrypted.open.rest}/v2/models/id/infer", json=BODY)
        assert response.json()["outputs"][0]["data"] == [1.0, 2.0, 3.0]
        # Not on the fast path: the application's other routes, and an error.
        assert client.get(f"{encrypted.open.rest}/v2/models/id").json()["name"] == "id"
        assert client.get(f"{encrypted.open.rest}/v2/models/nosuch").status_code == 404


def test_a_client_that_does_not_know_the_authority_turns_away(encrypted: Encrypted) -> None:
    with httpx.Client() as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get(f"{encrypted.open.rest}/v2")


def test_plain_http_is_not_answered(encrypted: Encrypted) -> None:
    with httpx.Client() as client:
        assert refused(client, encrypted.open.rest.replace("https:", "http:") + "/v2")
    assert "Traceback" not in encrypted.open.log


def test_a_client_that_offers_http_2_gets_http_1(encrypted: Encrypted) -> None:
    context = encrypted.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    url = httpx.URL(encrypted.open.rest)
    with (
        socket.create_connection((url.host, url.port or 0)) as plain,
        context.wrap_socket(plain, server_hostname=url.host) as wrapped,
    ):
        assert wrapped.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("elements", [3, 2_000_000])
def test_tritonclient(encrypted: Encrypted, elements: int) -> None:
    values = np.arange(elements, dtype=np.float32)
    tensor = triton.InferInput("IN", [elements], "FP32")
    tensor.set_data_from_numpy(values)
    client = triton.InferenceServerClient(
        encrypted.open.rest.removeprefix("https://"), ssl=True, ssl_context_factory=encrypted.context
    )
    np.testing.assert_array_equal(client.infer("id", [tensor]).as_numpy("OUT"), values)
    client.close()


def test_tritonclient_aio(encrypted: Encrypted) -> None:
    async def ask() -> Any:
        tensor = triton.InferInput("IN", [3], "FP32")
        tensor.set_data_from_numpy(np.array([1, 2, 3], np.float32))
        address = encrypted.open.rest.removeprefix("https://")
        async with triton_aio.InferenceServerClient(
            address, ssl=True, ssl_context=encrypted.context()
        ) as client:
            return (await client.infer("id", [tensor])).as_numpy("OUT")

    assert asyncio.run(ask()).tolist() == [1, 2, 3]


def test_mutual_tls(encrypted: Encrypted) -> None:
    url = f"{encrypted.mutual.rest}/v2/models/id/infer"
    with httpx.Client(verify=encrypted.context()) as nobody:
        assert refused(nobody, url)
    context = encrypted.context()
    trustme.CA().issue_cert("stranger").configure_cert(context)
    with httpx.Client(verify=context) as stranger:
        assert refused(stranger, url)
    context = encrypted.context()
    encrypted.authority.issue_cert("friend").configure_cert(context)
    with httpx.Client(verify=context) as friend:
        assert friend.post(url, json=BODY).json()["outputs"][0]["data"] == [1.0, 2.0, 3.0]
    assert "Traceback" not in encrypted.mutual.log


def test_a_client_that_does_not_read_its_answer_is_disconnected(
    start_server: StartServer, encrypted: Encrypted, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "large", LARGE)
    files = [f"--http-server-{name}={encrypted.roots.parent}/server.{name}" for name in ("cert", "key")]
    server = start_server(tmp_path, "--http-use-ssl", "--http-read-timeout-secs=1", *files)
    url = httpx.URL(server.rest)
    idle = open_files(server)
    with (
        socket.create_connection((url.host, url.port or 0)) as plain,
        encrypted.context().wrap_socket(plain, server_hostname=url.host) as wrapped,
    ):
        body = b'{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":[20000000]}]}'
        wrapped.sendall(
            b"POST /v2/models/large/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        wait_until(lambda: open_files(server) == idle)
        # It was open until then, with much of the answer unsent.
        received = 100
        with suppress(ConnectionError, ssl.SSLError):
            while part := wrapped.recv(1 << 20):
                received += len(part)
        assert received < 20_000_000


def open_files(server: RunningServer) -> int:
    """How many descriptors the server's process has: one of them for each connection."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def test_grpc(encrypted: Encrypted) -> None:
    credentials = grpc.ssl_channel_credentials(encrypted.roots.read_bytes())
    assert infer_over_grpc(encrypted.open.grpc, credentials) == [1, 2, 3]


def test_grpc_without_tls_is_not_answered(encrypted: Encrypted) -> None:
    client = triton_grpc.InferenceServerClient(encrypted.open.grpc)
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        client.is_server_live(client_timeout=60)
    client.close()
    assert "Traceback" not in encrypted.open.log


@pytest.mark.parametrize("who", ["nobody", "stranger", "friend"])
def test_mutual_tls_over_grpc(encrypted: Encrypted, who: str) -> None:
    authority = encrypted.authority if who == "friend" else trustme.CA()
    certificate = authority.issue_cert(who)
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_channel_credentials(
        encrypted.roots.read_bytes(), *(pair if who != "nobody" else ())
    )
    if who == "friend":
        assert infer_over_grpc(encrypted.mutual.grpc, credentials) == [1, 2, 3]
    else:
        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            infer_over_grpc(encrypted.mutual.grpc, credentials)


def test_a_request_that_cannot_be_parsed_is_answered_over_tls(encrypted: Encrypted) -> None:
    url = httpx.URL(encrypted.open.rest)
    with (
        socket.create_connection((url.host, url.port or 0)) as plain,
        encrypted.context().wrap_socket(plain, server_hostname=url.host) as wrapped,
    ):
        wrapped.settimeout(60)
        wrapped.sendall(b"this is no HTTP\r\n\r\n")
        answer = b""
        while more := wrapped.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b'{"error":"Invalid HTTP request received."}')
    assert "Traceback" not in encrypted.open.log
