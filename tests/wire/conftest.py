"""The servers of the wire tests, started once."""

from collections.abc import Iterator

import pytest

from tests.conftest import RunningServer
from tests.wire.servers import CACHE, HERE, MAX_INPUT_BYTES, TARGET_IS_TRITON, make_repository, start
from tests.wire.target import Target


def _serve(tmp_path_factory: pytest.TempPathFactory, name: str, *flags: str) -> Iterator[Target]:
    root = tmp_path_factory.mktemp("wire")
    repository = make_repository(HERE / name, root, identities=name == "models")
    server: RunningServer = start(root, repository, *flags)
    with Target(server) as target:
        yield target
    assert server.stop() == 0 or TARGET_IS_TRITON


# What the wire carries does not depend on who reads it: REST has two front ends.
_FRONT_ENDS = {
    "own": ["--http-fast-lane=true"],
    "library": ["--http-fast-lane=false"],
}


@pytest.fixture(scope="session", params=["tritonserver"] if TARGET_IS_TRITON else _FRONT_ENDS)
def models(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A server with the models of `models/`, and one identity model for each datatype; none fails to load."""
    flags = (
        [] if TARGET_IS_TRITON else [f"--http-max-input-size={MAX_INPUT_BYTES}", *_FRONT_ENDS[request.param]]
    )
    yield from _serve(tmp_path_factory, "models", CACHE, *flags)


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server on `states/` that loads models only when asked to."""
    yield from _serve(tmp_path_factory, "states", "--model-control-mode=explicit")
