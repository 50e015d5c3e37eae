"""What a client is told of its server besides the address: TLS, and headers of every request."""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kserve_v2.client.address import Address
from kserve_v2.errors import InvalidArgumentError

Token = str | Callable[[], str]
FilePath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Connection:
    """`token`: of a bearer, or what gives one, which is asked before each request. `ca_file`: certificates that are
    trusted instead of the usual ones. `cert_file`, `key_file`: of the client.
    """

    address: Address
    headers: Mapping[str, str]
    token: Token | None = None
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None

    def __post_init__(self) -> None:
        for name in ("ca_file", "cert_file", "key_file"):
            path: FilePath | None = getattr(self, name)
            if path is None:
                continue
            if not self.address.tls:
                raise InvalidArgumentError(
                    f"{name} is for a server with TLS, and {self.address.url} is none: give an https:// or grpcs:// URL"
                )
            if not Path(path).is_file():
                raise InvalidArgumentError(f"{name}: there is no file {os.fspath(path)!r}")
        if (self.cert_file is None) != (self.key_file is None):
            raise InvalidArgumentError("cert_file and key_file belong together: one of them is missing")

    def request_headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        """Headers of one request, by names in lower case. Raises InvalidArgumentError."""
        found: dict[str, str] = {}
        if self.token is not None:
            found["authorization"] = f"Bearer {self.token if isinstance(self.token, str) else self.token()}"
        for name, value in (*self.headers.items(), *(more or {}).items()):
            if not isinstance(value, str) or not value.isascii() or not value.isprintable():
                raise InvalidArgumentError(f"header {name!r}: expected a text of printable ASCII")
            found[name.lower()] = value
        return found

    def ssl_context(self, usual: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """For Python's TLS. `usual`: makes one with the usual certificates. Raises InvalidArgumentError."""
        try:
            context = usual() if self.ca_file is None else ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None and self.key_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"the files for TLS cannot be used: {error}") from None
        return context

    def pem(self, name: str) -> bytes | None:
        """The contents of one of the files. Raises InvalidArgumentError."""
        path: FilePath | None = getattr(self, name)
        try:
            return None if path is None else Path(path).read_bytes()
        except OSError as error:
            raise InvalidArgumentError(f"{name}: {os.fspath(path or '')!r}: {error.strerror}") from None
