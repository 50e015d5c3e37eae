"""Archives by URL, from real servers on this machine: CVE-2023-43654 in TorchServe was that anything could be fetched."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kserve_v2.torchserve_api.fetching import FetchError, FetchRules, UnderWay, fetch, raise_unless_public

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A web server, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sends(body: bytes, length: int | None = None, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def rules(max_bytes: int = 1000, *, local: bool = True) -> FetchRules:
    return FetchRules(max_bytes, LOOPBACK if local else (), timeout_s=10, total_s=20)


def test_fetches_a_file(tmp_path: Path) -> None:
    with serving(sends(b"archive", 7)) as (url, asked):
        fetch(f"{url}/a/m.mar?v=1", tmp_path / "m.mar", rules())
    assert (tmp_path / "m.mar").read_bytes() == b"archive"
    assert asked == ["/a/m.mar?v=1"]


def test_no_local_address_is_asked(tmp_path: Path) -> None:
    with serving(sends(b"secret", 6)) as (url, asked):
        port = url.rpartition(":")[2]
        for host in (
            "127.0.0.1",
            "localhost",
            "0x7f.1",
            "2130706433",
            "127.1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
        ):
            with pytest.raises(FetchError, match=r" is a local one$"):
                fetch(f"http://{host}:{port}/m.mar", tmp_path / "m.mar", rules(local=False))
    assert asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::",
        "fec0::1", "::127.0.0.1", "::10.0.0.1", "64:ff9b:1::a00:1",
    ],
)  # fmt: skip
def test_which_addresses_are_local(address: str) -> None:
    with pytest.raises(FetchError):
        raise_unless_public(address, ())


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_which_are_not(address: str) -> None:
    raise_unless_public(address, ())


def test_the_operator_may_name_networks() -> None:
    raise_unless_public("10.1.2.3", [ipaddress.ip_network("10.1.0.0/16")])
    raise_unless_public("::ffff:10.1.2.3", [ipaddress.ip_network("10.1.0.0/16")])
    raise_unless_public("::1", [ipaddress.ip_network("::1/128")])
    with pytest.raises(FetchError):
        raise_unless_public("10.2.0.1", [ipaddress.ip_network("10.1.0.0/16")])


def test_a_name_with_one_local_address_is_local(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"its address 169\.254\.169\.254 is a local one"):
        fetch(
            "http://files.example/m.mar", tmp_path / "m.mar", rules(local=False),
            lambda host, port: ["1.1.1.1", "169.254.169.254"],
        )  # fmt: skip


def test_what_is_connected_to_is_what_was_checked(tmp_path: Path) -> None:
    """A name that means another address a moment later makes no difference: it is looked up once."""
    looked_up = []

    def lookup(host: str, port: int) -> list[str]:
        looked_up.append((host, port))
        return ["127.0.0.1"]

    with serving(sends(b"archive", 7)) as (url, asked):
        port = url.rpartition(":")[2]
        fetch(f"http://files.invalid:{port}/m.mar", tmp_path / "m.mar", rules(), lookup)
    assert looked_up == [("files.invalid", int(port))]
    assert asked == ["/m.mar"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirection_is_followed(status: int, tmp_path: Path) -> None:
    with (
        serving(sends(b"secret", 6)) as (secret, asked),
        serving(sends(b"", 0, status, Location=f"{secret}/m.mar")) as (url, _),
        pytest.raises(FetchError, match=f"^the answer is HTTP {status}$"),
    ):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", rules())
    assert asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (sends(b"", 1001), "^it has 1001 bytes, and 1000 are allowed$"),
        (sends(b"x" * 5000), "^it has more than the 1000 bytes that are allowed$"),
        (sends(b"short", 100), "^IncompleteRead|^the answer was cut off$"),
        (sends(b"", 0, 404), "^the answer is HTTP 404$"),
    ],
)
def test_what_is_no_archive_leaves_nothing(answer: Answer, message: str, tmp_path: Path) -> None:
    with serving(answer) as (url, _), pytest.raises(FetchError, match=message):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", rules())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://1.1.1.1/m.mar", "gopher://1.1.1.1/m.mar", "http:///m.mar", "m.mar",
        "http://user:word@1.1.1.1/m.mar", "http://1.1.1.1:99999/m.mar", f"http://1.1.1.1/{'a' * 3000}",
        "http://1.1.1.1/m.mar\r\nHost: x",
    ],
)  # fmt: skip
def test_refuses_what_is_no_such_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        fetch(url, tmp_path / "m.mar", rules(), lambda host, port: ["127.0.0.1"])
    assert list(tmp_path.iterdir()) == []


@contextmanager
def silent(*sent: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that sends a beginning and then nothing; and what tells that it has sent it."""
    began = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                for each in sent:
                    connection.sendall(each)
                began.set()
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", began
        thread.join()


BEGINNINGS = [b"", b"HTTP/1.1 200 OK\r\nX-Slow:", b"HTTP/1.0 200 OK\r\n\r\nhalf an archive"]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_no_server_keeps_this_one_from_ending(tmp_path: Path, beginning: bytes) -> None:
    """Also where the other side has said nothing of the length: what has come by then is no archive."""
    under_way = UnderWay()
    with silent(beginning) as (url, began), ThreadPoolExecutor(1) as threads:
        fetched = threads.submit(fetch, f"{url}/m.mar", tmp_path / "m.mar", rules(), under_way=under_way)
        began.wait()
        under_way.give_up()
        with pytest.raises(FetchError, match=r"^the server ends$"):
            fetched.result()
    with pytest.raises(FetchError, match=r"^the server ends$"):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", rules(), under_way=under_way)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def dead() -> Iterator[str]:
    """A host that does not even say that it is not there: no more connections are waited for than there are."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(8):
            each = waiting.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_nobody_waits_for_a_dead_host(tmp_path: Path) -> None:
    for_long = FetchRules(1000, LOOPBACK, timeout_s=3600, total_s=0.05)
    with dead() as url, pytest.raises(FetchError, match=r"^it takes more than 0\.05 s$"):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", for_long)
    for_short = FetchRules(1000, LOOPBACK, timeout_s=0.05, total_s=3600)
    with dead() as url, pytest.raises(FetchError, match="timed out"):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", for_short)


def test_who_refuses_a_connection_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(FetchError, match="ConnectionRefusedError"):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", rules())


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_the_time_of_a_fetch_is_for_all_of_it(tmp_path: Path, beginning: bytes) -> None:
    with silent(beginning) as (url, _), pytest.raises(FetchError, match=r"^it takes more than 0\.05 s$"):
        fetch(f"{url}/m.mar", tmp_path / "m.mar", FetchRules(1000, LOOPBACK, timeout_s=30, total_s=0.05))
    assert list(tmp_path.iterdir()) == []
