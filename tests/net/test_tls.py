"""TLS contexts from PEM files: what they allow, and what is said of files that cannot be used."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from kserve_v2.net.tls import TlsError, TlsFiles, server_context

GARBAGE = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
GARBAGE_KEY = GARBAGE.replace(b"CERTIFICATE", b"PRIVATE KEY")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost")


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA, server_certificate: trustme.LeafCert) -> TlsFiles:
    """Certificate and key that belong together, and the authority's certificate."""
    server_certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    server_certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    return TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "roots.pem")


def encrypted(key: bytes) -> bytes:
    """The same private key behind a password."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Connect the two in memory; returns the client's side. Raises ssl.SSLError where one refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].version() is not None
    return ends[0]


def client_context(files: TlsFiles, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.client_roots)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def test_a_client_that_trusts_the_authority_connects(files: TlsFiles) -> None:
    server = server_context(TlsFiles(files.certificate, files.key), ())
    assert handshake(server, client_context(files)).version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("served", "offered", "chosen"),
    [
        (["http/1.1"], ("h2", "http/1.1"), "http/1.1"),
        (["h2", "http/1.1"], ("http/1.1", "h2"), "h2"),  # the server prefers
        (["h2"], (), None),
    ],
)
def test_alpn(files: TlsFiles, served: list[str], offered: tuple[str, ...], chosen: str | None) -> None:
    server = server_context(TlsFiles(files.certificate, files.key), served)
    assert handshake(server, client_context(files, offered)).selected_alpn_protocol() == chosen


def test_versions_before_1_2_are_refused(files: TlsFiles) -> None:
    # RFC 8996 has TLS 1.0 and 1.1 out of use.
    assert server_context(files, ()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_client_roots_make_a_certificate_of_the_client_necessary(
    files: TlsFiles, authority: trustme.CA
) -> None:
    server, client = server_context(files, ()), client_context(files)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server, client)
    trustme.CA().issue_cert("stranger").configure_cert(client)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server, client)
    client = client_context(files)
    authority.issue_cert("friend").configure_cert(client)
    handshake(server, client)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("server.pem", None, "cannot read '{file}': No such file or directory"),
        ("server.key", None, "cannot read '{file}': No such file or directory"),
        ("roots.pem", None, "cannot read '{file}': No such file or directory"),
        ("server.pem", b"hello", "'{file}': expected a certificate in PEM form, got something else"),
        ("server.key", GARBAGE, "'{file}': expected a private key in PEM form, got something else"),
        ("roots.pem", b"", "'{file}': expected a certificate in PEM form, got something else"),
        ("server.pem", GARBAGE, "cannot use certificate '{file}' with private key "),
        ("server.key", GARBAGE_KEY, "cannot use certificate '{folder}/server.pem' with private key '{file}': "),
        ("roots.pem", GARBAGE, "cannot use '{file}' to verify certificates of clients: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(
    files: TlsFiles, tmp_path: Path, name: str, contents: bytes | None, message: str
) -> None:
    file = tmp_path / name
    file.unlink()
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(TlsError) as caught:
        server_context(files, ())
    assert str(caught.value).startswith(message.format(file=file, folder=tmp_path))


def test_a_key_of_another_certificate(files: TlsFiles, authority: trustme.CA) -> None:
    authority.issue_cert("other").private_key_pem.write_to_path(files.key)
    with pytest.raises(TlsError) as caught:
        server_context(files, ())
    assert (
        str(caught.value)
        == f"private key {str(files.key)!r} does not belong to certificate {str(files.certificate)!r}"
    )


def test_an_encrypted_key_is_refused_without_asking_for_the_password(files: TlsFiles) -> None:
    files.key.write_bytes(encrypted(files.key.read_bytes()))
    with pytest.raises(TlsError) as caught:
        server_context(files, ())
    assert (
        str(caught.value)
        == f"{str(files.key)!r}: the private key is encrypted, expected one without a password"
    )
