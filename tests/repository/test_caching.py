"""How a version uses the server's cache: what it is known by where servers share one, and what is said without one."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.caching.cache import CacheFigures, CacheSpace
from kserve_v2.caching.local import LocalCache
from kserve_v2.repository.models.caching import fingerprint, model_caching

CONFIG = 'name: "m" backend: "python" response_cache { enable: true }'


def config(more: str = "") -> ModelConfig:
    return text_format.Parse(CONFIG + more, ModelConfig())


def write(root: Path) -> ModelSource:
    """A model with two versions, of which the second one is loaded."""
    for path, text in {
        "config.pbtxt": CONFIG, "labels.txt": "cat", "1/model.py": "one", "2/model.py": "two", "2/deep/er/weights": "w",
    }.items():  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return ModelSource("m", 2, root, root / "2")


def test_copies_of_a_model_are_the_same_wherever_and_however_old_they_are(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other" / "place")
    os.utime(other.version_path / "model.py", (1, 1))
    assert fingerprint(one, config()) == fingerprint(other, config())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: (root / "2/model.py").write_text("owt"), id="content"),
        pytest.param(lambda root: (root / "2/deep/er/weights").write_text(""), id="empty"),
        pytest.param(lambda root: (root / "2/model.py").rename(root / "2/model2.py"), id="name"),
        pytest.param(lambda root: (root / "2/deep/er/weights").rename(root / "2/deep/weights"), id="place"),
        pytest.param(lambda root: (root / "2/more").write_text("more"), id="another file"),
        pytest.param(lambda root: (root / "labels.txt").write_text("dog"), id="labels"),
    ],
)
def test_any_change_makes_it_another_one(tmp_path: Path, change: Callable[[Path], object]) -> None:
    source = write(tmp_path)
    before = fingerprint(source, config())
    change(tmp_path)
    assert fingerprint(source, config()) != before


@pytest.mark.parametrize("path", ["1/model.py", ".hidden", "2/.hidden", "2/__pycache__/model.pyc"])
def test_what_is_not_the_version_s_makes_no_difference(tmp_path: Path, path: str) -> None:
    source = write(tmp_path)
    before = fingerprint(source, config())
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("changed")
    assert fingerprint(source, config()) == before


def test_its_configuration_makes_a_difference(tmp_path: Path) -> None:
    source = write(tmp_path)
    other = config(' parameters { key: "p" value { string_value: "1" } }')
    assert fingerprint(source, config()) != fingerprint(source, other)


class Shared:
    """A cache that other servers use, too."""

    shared = True

    def space(self, identity: str) -> CacheSpace:
        raise NotImplementedError

    def figures(self) -> CacheFigures:
        return CacheFigures()

    async def stop(self) -> None: ...


def test_files_are_read_only_where_servers_share_the_cache(tmp_path: Path) -> None:
    source = write(tmp_path)
    shared = model_caching(Shared(), source, config())
    local = model_caching(
        LocalCache(1), ModelSource("m", 2, tmp_path / "gone", tmp_path / "gone/2"), config()
    )
    assert shared is not None
    assert local is not None
    assert fingerprint(source, config()) in shared.identity
    assert local.identity == "model 'm' version 2"


def test_what_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, cache = write(tmp_path), LocalCache(1)
    switch = ' parameters { key: "coalesce_requests" value { string_value: "%s" } }'
    assert model_caching(cache, source, text_format.Parse('name: "m"', ModelConfig())) is None
    for more, coalesces in (("", True), (switch % "true", True), (switch % "false", False)):
        caching = model_caching(cache, source, config(more))
        assert caching is not None
        assert caching.coalesces is coalesces
        assert not caching.composed
    ensemble = model_caching(Shared(), source, config(" ensemble_scheduling { }"))
    assert ensemble is not None
    assert ensemble.composed
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        assert model_caching(None, source, config()) is None
    [record] = caplog.records
    assert record.getMessage() == (
        "model 'm': response_cache.enable is set but has no effect: start the server with --cache-config "
        "local,size=BYTES, or with --cache-config redis,host=HOST,port=PORT"
    )
