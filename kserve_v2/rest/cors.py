"""Calls from pages of other origins, which browsers allow only if the server says so."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

# What a page may read of an answer beside its body.
_EXPOSED_HEADERS = ("Inference-Header-Content-Length", "Content-Encoding", "Retry-After")


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, with the answers to preflight requests, and the headers that let pages of `origins` read its answers."""
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED_HEADERS
    )
