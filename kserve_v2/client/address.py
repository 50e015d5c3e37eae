"""URLs of servers: which protocol, and where."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from kserve_v2.errors import InvalidArgumentError

FORMS = (
    "http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT, grpcs://HOST:PORT, unix:PATH or grpc+unix:PATH"
)

_SCHEMES = {"http": False, "https": False, "grpc": True, "grpcs": True}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """`url`: as it is shown, without a slash at its end. `grpc`, `tls`: how to talk to the server. `target`: HOST:PORT
    of a gRPC server. `path`: of a Unix socket, "" for TCP. `local`: it is on this machine, where no proxy leads to.
    """

    url: str
    grpc: bool
    tls: bool
    target: str = ""
    path: str = ""
    local: bool = False


def read_address(text: str) -> Address:
    """The address that a text names. HOST:PORT without a scheme is `http://HOST:PORT`. Raises InvalidArgumentError."""
    for prefix, grpc in (("unix:", False), ("grpc+unix:", True)):
        if text.startswith(prefix):
            path = text.removeprefix(prefix)
            if not path.startswith("/") or path.startswith("//"):
                raise InvalidArgumentError(f"expected {prefix}/PATH of a Unix socket, got {text!r}")
            return Address(text, grpc, tls=False, target=f"unix:{path}", path=path, local=True)
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise InvalidArgumentError(f"expected a server's URL, which is {FORMS}, got {text!r}")
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError(
            "expected a URL without a user's name and password: give a token, or a header, instead"
        )
    grpc = _SCHEMES[parts.scheme]
    if grpc and (port is None or parts.path):
        raise InvalidArgumentError(f"expected {parts.scheme}://HOST:PORT, got {text!r}")
    local = parts.hostname in _LOOPBACK
    return Address(url, grpc, parts.scheme in ("https", "grpcs"), parts.netloc, local=local)
