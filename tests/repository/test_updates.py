"""Updates: only what has changed is loaded again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kserve_v2.errors import UnavailableError
from kserve_v2.repository.models.model import LoadedModel
from tests.repository.text_models import answer, managing, run, write

pytestmark = pytest.mark.timeout(60)

ALL = "version_policy { all {} }"


def configure(root: Path, text: str) -> None:
    (root / "m" / "config.pbtxt").write_text(text)


def touch(path: Path) -> None:
    """Have a file look as if it had been written again."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


# From versions 1 and 2 under `all`: what is changed, and which versions are loaded for it.
CHANGES: dict[str, tuple[Callable[[Path], object], list[int]]] = {
    "nothing": (lambda _: None, []),
    "a new version": (lambda root: write(root, "m", "3", 3), [3]),
    "a version is removed": (lambda root: shutil.rmtree(root / "m" / "2"), []),
    "a file of version 2": (lambda root: write(root, "m", "new", 2), [2]),
    "a further file of version 1": (lambda root: (root / "m/1/vocabulary").write_text("a"), [1]),
    "a file of both": (lambda root: (root / "m/labels.txt").write_text("a"), [1, 2]),
    "a policy": (lambda root: configure(root, "version_policy { specific { versions: [2] } }"), []),
    "a policy and the batch size": (
        lambda root: configure(root, "version_policy { specific { versions: [2] } } max_batch_size: 2"),
        [2],
    ),
    "the batch size": (lambda root: configure(root, f"{ALL} max_batch_size: 2"), [1, 2]),
    "a comment": (lambda root: configure(root, f"{ALL} # all of them"), []),
    "the time of the configuration": (lambda root: touch(root / "m/config.pbtxt"), []),
    "a named configuration that is not used": (
        lambda root: [(root / "m/configs").mkdir(), (root / "m/configs/small.pbtxt").write_text("")],
        [],
    ),
    "the configuration goes": (lambda root: (root / "m/config.pbtxt").unlink(), []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_only_what_has_changed_is_loaded_again(tmp_path: Path, name: str) -> None:
    change, loaded = CHANGES[name]

    async def main() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            before = {model.version: model for model in manager.ready_versions("m")}
            backend.loads.clear()
            change(tmp_path)
            await manager.load("m")
            assert sorted(backend.loads) == [("m", version) for version in loaded]
            for model in manager.ready_versions("m"):
                assert (before.get(model.version) is model) is (model.version not in loaded)
            await manager.load("m")
            assert len(backend.loads) == len(loaded)

    run(main)


def test_a_version_that_stays_keeps_its_statistics_and_shows_the_new_policy(tmp_path: Path) -> None:
    def policy(model: LoadedModel) -> str | None:
        return model.config.version_policy.WhichOneof("policy_choice")

    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            assert await answer(manager, "m") == "one"
            kept = manager.acquire("m", "1")
            assert policy(kept) == "latest"
            write(tmp_path, "m", "two", 2, ALL)
            await manager.load("m")
            assert manager.acquire("m", "1") is kept
            assert kept.statistics.inference_count == 1
            assert [policy(model) for model in manager.ready_versions("m")] == ["all", "all"]

    run(main)


def test_a_version_that_comes_back_is_loaded_again(tmp_path: Path) -> None:
    async def main() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            configure(tmp_path, "version_policy { specific { versions: [2] } }")
            await manager.load("m")
            with pytest.raises(UnavailableError):
                manager.acquire("m", "1")
            configure(tmp_path, ALL)
            await manager.load("m")
            assert backend.loads[2:] == [("m", 1)]
            assert await answer(manager, "m", "1") == "1"

    run(main)
