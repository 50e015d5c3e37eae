"""Calls from pages of other origins, which browsers allow only if the server says so."""

from collections.abc import Collection, Iterable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

# What a page may read of an answer beside its body.
_EXPOSED_HEADERS = ("Inference-Header-Content-Length", "Content-Encoding", "Retry-After")


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, with the answers to preflight requests, and the headers that let pages of `origins` read its answers."""
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED_HEADERS
    )


def readable_by(headers: Iterable[tuple[bytes, bytes]], origins: Collection[str]) -> str | None:
    """The origin to whose pages an answer is shown that no application has made, `*` for all; None for none. `headers`:
    those of the request, as far as they have been read.
    """
    origin = next((value.decode("latin-1") for name, value in headers if name == b"origin"), None)
    if origin is None:
        return None
    return "*" if "*" in origins else origin if origin in origins else None
