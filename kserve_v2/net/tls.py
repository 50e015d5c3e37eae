"""TLS for a port: certificate and key from PEM files, checked at start, with errors that name the file."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = b"PRIVATE KEY-----"


class TlsError(Exception):
    """The files cannot be used; the text is for the person who named them."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files for one port lie.

    `certificate`: the server's, intermediate ones behind it. `key`: its private key, not encrypted. `client_roots`: the
    certificates that sign those of clients, who then need one; None: they are not asked for any.
    """

    certificate: Path
    key: Path
    client_roots: Path | None = None


def server_context(files: TlsFiles, alpn: Sequence[str]) -> ssl.SSLContext:
    """A context for connections from clients, TLS 1.2 or newer.

    `alpn`: protocols that the port speaks (RFC 7301), the preferred one first. Raises TlsError for a file that cannot
    be read, that is no PEM file of its kind, and for a key that is another certificate's.
    """
    _check(files.certificate, _CERTIFICATE, "certificate")
    _check(files.key, _PRIVATE_KEY, "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could make the server's processor work by asking for new keys again and again (TLS 1.2).
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_certificate(context, files)
    if files.client_roots is not None:
        _check(files.client_roots, _CERTIFICATE, "certificate")
        _load_client_roots(context, files.client_roots)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _check(path: Path, marker: bytes, what: str) -> None:
    """Raise TlsError if `path` cannot be read or is something else than a PEM file with a `what`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise TlsError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if marker not in text:
        raise TlsError(f"{str(path)!r}: expected a {what} in PEM form, got something else")


def _load_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    def refuse_encrypted_key() -> str:
        # Without this OpenSSL would ask for the password on the terminal.
        raise TlsError(f"{str(files.key)!r}: the private key is encrypted, expected one without a password")

    try:
        context.load_cert_chain(files.certificate, files.key, refuse_encrypted_key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = (
                f"private key {str(files.key)!r} does not belong to certificate {str(files.certificate)!r}"
            )
        else:
            problem = f"cannot use certificate {str(files.certificate)!r} with private key {str(files.key)!r}: {error}"
        raise TlsError(problem) from error


def _load_client_roots(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsError(f"cannot use {str(path)!r} to verify certificates of clients: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED
