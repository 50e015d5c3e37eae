"""Environments take seconds to make, so the tests share a few."""

from pathlib import Path

import pytest

from tests.environments.wheels import write_colours


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels that there are."""
    return write_colours(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of environments."""
    return tmp_path_factory.mktemp("environments")
