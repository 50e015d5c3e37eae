"""Options of the commands that ask a running server, and the client that they stand for."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kserve_v2.commands.command import CommandError, UsageError

if TYPE_CHECKING:
    from kserve_v2.client import Client

URL_VARIABLE = "KSERVE_V2_URL"
TOKEN_VARIABLE = "KSERVE_V2_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_URL = "http://127.0.0.1:8000"


REST_FORMS = "http://HOST:PORT, https://HOST:PORT or unix:PATH"
"""URLs for what only REST has."""


def add_server(parser: argparse.ArgumentParser, *, rest_only: bool = False) -> None:
    """Which server is asked, and how. `rest_only`: gRPC has no words for what the command asks."""
    forms = (
        f"{REST_FORMS}, as this is asked over REST"
        if rest_only
        else "http://HOST:PORT or https://... (REST), grpc://HOST:PORT or grpcs://..., unix:PATH"
    )
    group = parser.add_argument_group("Server")
    group.add_argument(
        "--url",
        metavar="URL",
        help=f"The server: {forms}. HOST:PORT alone is REST. [{URL_VARIABLE}; default {DEFAULT_URL}]",
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECS",
        help="How long it may take at most. [default 60; none for loads and streams]",
    )
    group.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="A header of each request, over gRPC its metadata; may be repeated. A bearer's token is better in the "
        f"environment, as {TOKEN_VARIABLE}: what is on a command line can be seen by others.",
    )
    group.add_argument(
        "--ca-file", metavar="PEM", help="Certificates to trust, in the place of the usual ones."
    )
    group.add_argument("--cert-file", metavar="PEM", help="The client's certificate, with --key-file.")
    group.add_argument("--key-file", metavar="PEM", help="And its key.")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return seconds


@contextmanager
def asking(
    namespace: argparse.Namespace, environ: Mapping[str, str], *, rest_only: bool = False
) -> Iterator["Client"]:
    """The client of a command. What it raises inside the block, a person gets to read: raises CommandError,
    UsageError. `rest_only`: see `add_server`.
    """
    # Imported here: --help does not wait for what speaks HTTP.
    from kserve_v2.client import Client, InvalidArgumentError, ServingError, UnreachableError  # noqa: PLC0415

    url = namespace.url or environ.get(URL_VARIABLE) or DEFAULT_URL
    if rest_only:
        _check_rest(url)
    headers = dict(_header(text) for text in namespace.header)
    try:
        client = Client(
            url,
            headers=headers,
            token=environ.get(TOKEN_VARIABLE) or None,
            ca_file=namespace.ca_file,
            cert_file=namespace.cert_file,
            key_file=namespace.key_file,
            **({} if namespace.timeout is None else {"timeout": namespace.timeout}),
        )
    except InvalidArgumentError as error:
        raise UsageError(
            f"--url: {error.message}" if error.message.startswith("expected") else error.message
        ) from None
    with client:
        try:
            yield client
        except UnreachableError as error:
            raise CommandError(
                f"no server answers at {error.url}: {error.reason}; start one with kserve-v2 serve, or name another "
                "with --url"
            ) from None
        except ServingError as error:
            raise CommandError(without_unknown_id(error.message)) from None


def _check_rest(url: str) -> None:
    from kserve_v2.client.address import read_address  # noqa: PLC0415 - as above
    from kserve_v2.errors import InvalidArgumentError  # noqa: PLC0415

    try:
        usable = not read_address(url).grpc
    except InvalidArgumentError:
        usable = False
    if not usable:
        raise UsageError(f"--url: expected {REST_FORMS}, got {url!r}")


def without_unknown_id(message: str) -> str:
    """A server's message without what Triton, and we, put in front of it for a request that was sent without an id."""
    return message.removeprefix("[request id: <id_unknown>] ")


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--header: expected NAME=VALUE, got {text!r}")
    return name, value


def time_of(namespace: argparse.Namespace) -> float | None:
    """Of what has no limit of time unless it is given."""
    found: float | None = namespace.timeout
    return found
