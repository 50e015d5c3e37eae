"""Where archives are."""

from pathlib import Path

import pytest

from kserve_v2.torchserve_api.fetching import FetchRules
from kserve_v2.torchserve_api.places import Archives


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cats.mar", ""),
        ("cat.mar", ", did you mean cats.mar?"),
        ("xyzzy", "; the model store has: cats.mar, dogs.mar"),
    ],
)
def test_what_an_archive_that_is_not_there_may_be(tmp_path: Path, name: str, said: str) -> None:
    for each in ("cats.mar", "dogs.mar"):
        (tmp_path / each).touch()
    assert Archives(tmp_path, (), FetchRules(1)).similar(name) == said
