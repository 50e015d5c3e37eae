"""Addresses as TorchServe writes them: `http://HOST:PORT`, `https://HOST:PORT`, `unix:PATH`."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens. `host` is `unix:PATH` for a Unix socket, which has port 0; another port of 0 is any that
    is free.
    """

    host: str
    port: int = 0
    tls: bool = False

    @property
    def is_any_port(self) -> bool:
        """Whether the system chooses the port, so that no other address can be the same."""
        return self.port == 0 and not self.host.startswith("unix:")

    def __str__(self) -> str:
        if self.host.startswith("unix:"):
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that a text is. Raises ValueError with what was expected."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        # Both `unix:/path` and `unix:///path`.
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path:
            raise ValueError("expected a path behind unix:")
        return Address(f"unix:{path}")
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host or port == -1 or parts.path not in ("", "/"):
        raise ValueError("expected http://HOST:PORT, https://HOST:PORT or unix:PATH")
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    return Address(host, port, parts.scheme == "https")


def merged(addresses: dict[str, Address]) -> list[tuple[Address, tuple[str, ...]]]:
    """The places to listen on, and what each of them serves: those that are equal are one."""
    places: list[tuple[Address, tuple[str, ...]]] = []
    for name, address in addresses.items():
        for number, (known, names) in enumerate(places):
            if known == address and not address.is_any_port:
                places[number] = (known, (*names, name))
                break
        else:
            places.append((address, (name,)))
    return places
