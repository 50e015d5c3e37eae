"""Fixtures of pytest for tests of models: a server for each test, on ports of its own.

    # conftest.py, or the test file itself
    pytest_plugins = ["kserve_v2.testing"]

    def test_digits(kserve_v2_server):
        server = kserve_v2_server("models/digits")
        assert server.infer("digits", image=zeros)["label"] == [0]

`kserve_v2_server` takes what `kserve_v2.serve` takes: repositories, files, classes, functions, objects, with its
options as keyword arguments. It returns a `kserve_v2.Server` that is ready; a model that cannot be loaded fails the
test with the reason. All are stopped when the test has ended, and what they have logged is shown if it fails.
`kserve_v2_session_server` is the same for servers that live until the end of the session.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from kserve_v2.embedded.serve import serve
from kserve_v2.embedded.server import Server

StartServer = Callable[..., Server]
"""What both fixtures are."""

__all__ = ["StartServer", "kserve_v2_server", "kserve_v2_session_server"]


@pytest.fixture
def kserve_v2_server() -> Iterator[StartServer]:
    """Starts servers that live as long as the test: `kserve_v2_server(model, **options)`; see `kserve_v2.serve`."""
    with _servers() as start:
        yield start


@pytest.fixture(scope="session")
def kserve_v2_session_server() -> Iterator[StartServer]:
    """Starts servers that live as long as the session; otherwise as `kserve_v2_server`."""
    with _servers() as start:
        yield start


@contextmanager
def _servers() -> Iterator[StartServer]:
    log = logging.getLogger("kserve_v2")
    level = log.level
    if level == logging.NOTSET:
        # So that what happens in the course of things is among what is shown.
        log.setLevel(logging.INFO)
    try:
        with ExitStack() as stack:

            def start(models: object = None, /, **options: object) -> Server:
                given = {"port": 0, **options, "block": False}
                return stack.enter_context(serve(models, **given))  # type: ignore[arg-type]

            yield start
    finally:
        log.setLevel(level)
