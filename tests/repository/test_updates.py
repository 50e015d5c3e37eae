"""Updates: only what has changed is loaded again."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError, NotFoundError, UnavailableError
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.residency.residency import Budget
from tests.repository.text_models import answer, managing, run, write

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
    "a label": (
        lambda root: configure(
            root, ALL + ' parameters { key: "release" value { string_value: \'{"labels": {"PROD": 1}}\' } }'
        ),
        [],
    ),
    "a pin": (
        lambda root: configure(root, ALL + ' parameters { key: "pin" value { string_value: "true" } }'),
        [],
    ),
    "a parameter of the model's": (
        lambda root: configure(root, ALL + ' parameters { key: "beams" value { string_value: "4" } }'),
        [1, 2],
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


# --- instance groups ------------------------------------------------------------------------------------------


def groups(count: int, rest: str = "") -> str:
    return f"instance_group {{ count: {count} kind: KIND_CPU }} {rest}"


def test_instances_are_added_and_closed_without_a_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def main() -> None:
        write(tmp_path, "m", "one", config=groups(1))
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            assert await answer(manager, "m") == "one"
            kept = manager.acquire("m")
            for count, made in ((3, ["m_0_0", "m_0_1", "m_0_2"]), (1, []), (2, ["m_0_1"])):
                configure(tmp_path, groups(count))
                await manager.load("m")
                assert manager.acquire("m") is kept
                assert [group.count for group in kept.config.instance_group] == [count]
                assert backend.instances[-len(made) :] == made if made else True
                while backend.open != 1 + count:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                assert await answer(manager, "m") == "one"
            assert backend.loads == [("m", 1)]
            assert kept.statistics.inference_count == 4
            assert "model 'm' version 1 has other instances now: 2 more, 0 less" in caplog.text

    run(main)


def test_the_policy_and_the_instances_may_change_together(tmp_path: Path) -> None:
    async def main() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, groups(1, ALL))
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            configure(tmp_path, groups(2, "version_policy { specific { versions: [2] } }"))
            await manager.load("m")
            assert sorted(backend.loads) == [("m", 1), ("m", 2)]
            (kept,) = manager.ready_versions("m")
            assert kept.config.version_policy.specific.versions == [2]
            assert backend.instances.count("m_0_1") == 1

    run(main)


def test_what_cannot_be_changed_in_place_is_loaded_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "its backend makes them only when it loads the model"

    async def main() -> None:
        write(tmp_path, "m", "one", config=groups(1))
        async with managing(tmp_path) as (manager, backend):
            backend.adds_instances = False
            await manager.load("m")
            before = manager.acquire("m")
            configure(tmp_path, groups(2))
            await manager.load("m")
            assert manager.acquire("m") is not before
            assert backend.loads == [("m", 1)] * 2
            logged = f"model 'm' version 1 is loaded again, for other instances: {reason}"
            assert logged in caplog.text

    run(main)


def test_with_a_memory_budget_more_instances_ask_for_room_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=groups(1))
        async with managing(tmp_path, memory=Budget({"cpu": 2**50})) as (manager, backend):
            await manager.load("m")
            configure(tmp_path, groups(2))
            await manager.load("m")
            assert backend.loads == [("m", 1)] * 2
            assert "other instances: more of them take more memory, which has a budget" in caplog.text
            configure(tmp_path, groups(1))
            await manager.load("m")
            assert backend.loads == [("m", 1)] * 2

    run(main)


def test_instances_that_cannot_be_made_leave_those_that_are_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=groups(1))
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            kept = manager.acquire("m")
            backend.refused = "m_0_1"
            configure(tmp_path, groups(2))
            with pytest.raises(InvalidArgumentError, match=r"UNAVAILABLE state: .*no room for m_0_1"):
                await manager.load("m")
            assert manager.acquire("m") is kept
            assert await answer(manager, "m") == "one"
            configure(tmp_path, groups(1))
            await manager.load("m")
            assert manager.acquire("m") is kept
            configure(tmp_path, "instance_group { gpus: [0] kind: KIND_GPU }")
            with pytest.raises(InvalidArgumentError, match="GPU"):
                await manager.load("m")
            assert await answer(manager, "m") == "one"

    run(main)


def test_an_unload_while_instances_are_made_ends_unloaded(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=groups(1))
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            backend.instance_gate.clear()
            configure(tmp_path, groups(2))
            changing = asyncio.create_task(manager.load("m"))
            while backend.instances[-1] != "m_0_1":  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert await answer(manager, "m") == "one"
            manager.unload("m")
            with pytest.raises(NotFoundError):
                manager.acquire("m")
            backend.instance_gate.set()
            with pytest.raises(UnavailableError, match="it was unloaded meanwhile"):
                await changing
            while (await manager.index())[0].state != "UNAVAILABLE":
                await manager.changed.wait()
            assert backend.open == 0

    run(main)


def test_a_pin_that_means_nothing_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            configure(tmp_path, 'parameters { key: "pin" value { string_value: "maybe" } }')
            with pytest.raises(InvalidArgumentError, match="pin"):
                await manager.load("m")
            assert not manager.acquire("m").pinned
            configure(tmp_path, 'parameters { key: "pin" value { string_value: "true" } }')
            await manager.load("m")
            assert manager.acquire("m").pinned

    run(main)
