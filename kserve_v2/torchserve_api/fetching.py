"""Archives by URL. A client chooses the URL, so this is where a server could be made to ask others in its name: only
URLs that the operator allows are fetched, from addresses that are no machine of the operator's own, and no answer leads
anywhere else.

The name is looked up once, and what is connected to is the address that was checked. Proxies of the environment are not
used: they would look the name up themselves.
"""

import errno
import http.client
import ipaddress
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Iterable[str]]

_CHUNK_BYTES = 1 << 20
_PORTS = {"http": 80, "https": 443}
_MAX_URL = 2048
# Addresses of version 4 in the clothes of version 6: NAT64, and what was to be the way before it.
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
# NAT64 of a network's own, whose addresses say nothing of where they lead.
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


class FetchError(Exception):
    """An archive cannot be had. The text is for the log, and not for clients: it tells what is on the network."""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """`max_bytes`: of an archive. `networks`: addresses that may be asked although they are local. Times in seconds;
    `total_s`: for the whole of it.
    """

    max_bytes: int
    networks: Sequence[Network] = ()
    timeout_s: float = 30.0
    total_s: float = 600.0


def raise_unless_public(address: str, networks: Iterable[Network]) -> None:
    """Raise FetchError for an address that is not one of the internet's, unless it is of these networks."""
    parsed = _plain(ipaddress.ip_address(address.partition("%")[0]))
    if any(parsed in network for network in networks):
        return
    if not parsed.is_global or parsed.is_multicast or _is_of_a_site(parsed):
        raise FetchError(f"its address {address} is a local one")


def _is_of_a_site(address: Address) -> bool:
    """Whether it is local in a way that `is_global` does not know of."""
    return isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address in _LOCAL_NAT64)


def _plain(address: Address) -> Address:
    """An address of version 4 that is written as one of version 6, as what it is."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        # Not so :: and ::1, which are addresses of version 6 themselves.
        if int(address) > 1 and any(address in network for network in _EMBEDDING):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError."""
    return [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class UnderWay:
    """The fetches that have not ended. From any thread."""

    def __init__(self) -> None:
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._over = False

    @contextmanager
    def __call__(self, connection: "_Connection", total_s: float) -> Iterator[None]:
        """This one is used, and no longer than `total_s`. Raises FetchError where it was hung up."""
        with self._lock:
            if self._over:
                raise FetchError("the server ends")
            self._connections.add(connection)
        timer = threading.Timer(total_s, connection.hang_up, [f"it takes more than {total_s:g} s"])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._connections.discard(connection)
            if connection.hung_up:
                # What has come looks like the whole answer, or like an error of the other side.
                raise FetchError(connection.hung_up)

    def give_up(self) -> None:
        """Whoever waits for an answer, or for its rest, waits no longer; no other fetch begins."""
        with self._lock:
            self._over = True
            for connection in self._connections:
                connection.hang_up("the server ends")


def fetch(
    url: str, target: Path, rules: FetchRules, lookup: Lookup = look_up, under_way: UnderWay | None = None
) -> None:
    """Write what a URL gives to `target`, which is not there yet. Blocks, until `under_way` gives up at the latest.
    Raises FetchError, and leaves nothing.
    """
    parts = urlsplit(url)
    if len(url) > _MAX_URL or parts.scheme not in _PORTS or not parts.hostname:
        raise FetchError("it is no URL of http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise FetchError("it has a user name or a password in it")
    try:
        port = parts.port or _PORTS[parts.scheme]
        addresses = list(dict.fromkeys(lookup(parts.hostname, port)))
    except (OSError, ValueError) as error:
        raise FetchError(f"its host cannot be found: {error}") from None
    # All of them: which one is asked must not decide whether it is allowed.
    for address in addresses:
        raise_unless_public(address, rules.networks)
    if not addresses:
        raise FetchError("its host has no address")
    connection = _connection(parts.scheme, parts.hostname, port, addresses[0], rules.timeout_s)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    watched = under_way if under_way is not None else UnderWay()
    try:
        with watched(connection, rules.total_s):
            _receive(connection, path, target, rules)
    except (OSError, http.client.HTTPException, ValueError) as error:
        target.unlink(missing_ok=True)
        raise FetchError(f"{type(error).__name__}: {error}") from None
    except FetchError:
        target.unlink(missing_ok=True)
        raise
    finally:
        connection.close()


def _receive(connection: http.client.HTTPConnection, path: str, target: Path, rules: FetchRules) -> None:
    deadline_s = time.monotonic() + rules.total_s
    connection.request("GET", path, headers={"User-Agent": "kserve-v2", "Accept-Encoding": "identity"})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        # A redirection as well: where it leads was not asked for.
        raise FetchError(f"the answer is HTTP {response.status}")
    if response.length is not None and response.length > rules.max_bytes:
        raise FetchError(f"it has {response.length} bytes, and {rules.max_bytes} are allowed")
    received = 0
    with target.open("xb") as file:
        while chunk := response.read1(_CHUNK_BYTES):
            received += len(chunk)
            if received > rules.max_bytes:
                raise FetchError(f"it has more than the {rules.max_bytes} bytes that are allowed")
            if time.monotonic() > deadline_s:
                raise FetchError(f"it takes more than {rules.total_s:g} s")
            file.write(chunk)
    if response.length:
        raise FetchError("the answer was cut off")


def _connection(scheme: str, host: str, port: int, address: str, timeout_s: float) -> "_Connection":
    """A connection to a host, by an address of it that was looked up before."""
    if scheme == "https":
        return _EncryptedConnection(host, port, address, timeout_s)
    return _Connection(host, port, address, timeout_s)


# What a connection says that is being made, and how often it is looked at.
_CONNECTING = (errno.EINPROGRESS, errno.EWOULDBLOCK)
_LOOK_S = 0.25


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, address: str, timeout_s: float, **options: Any) -> None:
        super().__init__(host, port, timeout=timeout_s, **options)
        self._address, self._timeout_s = address, timeout_s
        # It forgets its own when an answer has begun that ends with the connection.
        self._used: socket.socket | None = None
        self.hung_up = ""
        """Why it was, "" if it was not."""

    def connect(self) -> None:
        self.sock = self._used = self._connected()
        if self.hung_up:
            raise ConnectionAbortedError(self.hung_up)

    def _connected(self) -> socket.socket:
        found = socket.getaddrinfo(
            self._address, self.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        family, kind, protocol, _, place = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            self._await_connection(sock, sock.connect_ex(place))
            sock.settimeout(self._timeout_s)
        except BaseException:
            sock.close()
            raise
        return sock

    def _await_connection(self, sock: socket.socket, error: int) -> None:
        """A host that is dead says nothing: whoever waits for it looks whether it was hung up meanwhile."""
        deadline_s = time.monotonic() + self._timeout_s
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while error in _CONNECTING:
            left_s = deadline_s - time.monotonic()
            if self.hung_up:
                raise ConnectionAbortedError(self.hung_up)
            if left_s <= 0:
                raise TimeoutError("timed out")
            if poll.poll(min(left_s, _LOOK_S) * 1000):
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def hang_up(self, why: str) -> None:
        """From another thread: whoever waits for something waits no longer."""
        self.hung_up = self.hung_up or why
        if self._used is not None:
            with suppress(OSError):
                # Not that of an encrypted one, which is for the thread that uses it.
                socket.socket.shutdown(self._used, socket.SHUT_RDWR)


class _EncryptedConnection(_Connection):
    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        context = ssl.create_default_context()
        # The handshake comes after it is known what to hang up.
        encrypted = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self._used = encrypted
        encrypted.do_handshake()
