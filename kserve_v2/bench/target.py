"""Where load goes to, and by which protocol."""

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, urlsplit

from kserve_v2.bench.errors import BenchUsageError


class Protocol(StrEnum):
    """Of inference."""

    REST = "rest"
    GRPC = "grpc"


DEFAULT_URLS = {Protocol.REST: "http://127.0.0.1:8000", Protocol.GRPC: "grpc://127.0.0.1:8001"}

# Protocol, whether encrypted, and the port where the URL names none.
_SCHEMES = {
    "http": (Protocol.REST, False, 80),
    "https": (Protocol.REST, True, 443),
    "grpc": (Protocol.GRPC, False, 80),
    "grpcs": (Protocol.GRPC, True, 443),
}
_EXPECTED = "expected http://HOST:PORT or grpc://HOST:PORT (https, grpcs)"


@dataclass(frozen=True, slots=True)
class Target:
    """One server. `prefix`: the path in front of /v2, "" in most cases. `headers`: of each request, over gRPC its
    metadata; names are in small letters. `ca_file`: with
    certificates to trust, in place of the usual ones.
    """

    url: str
    protocol: Protocol
    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_file: str = ""

    @property
    def authority(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def path(self, model: str, version: str = "") -> str:
        """Of a model, over REST."""
        of_version = f"/versions/{quote(version, safe='')}" if version else ""
        return f"{self.prefix}/v2/models/{quote(model, safe='')}{of_version}"


def parse_target(text: str, protocol: Protocol | None = None) -> Target:
    """A server's URL; without a scheme, `protocol` says what it is. Raises BenchUsageError."""
    if "://" not in text:
        text = f"{'grpc' if protocol is Protocol.GRPC else 'http'}://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BenchUsageError(f"server {text!r}: {error}; {_EXPECTED}") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.username:
        raise BenchUsageError(f"server {text!r}: {_EXPECTED}")
    spoken, tls, usual_port = _SCHEMES[parts.scheme]
    if protocol is not None and protocol is not spoken:
        raise BenchUsageError(f"--protocol {protocol}, but the server is {text!r}: leave --protocol out")
    prefix = parts.path.rstrip("/")
    if prefix and spoken is Protocol.GRPC:
        raise BenchUsageError(f"server {text!r}: a server over gRPC has no path")
    return Target(text.rstrip("/"), spoken, parts.hostname, port or usual_port, tls, prefix)
