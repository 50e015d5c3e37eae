"""Releases in the map that requests are looked up in: what they cost, and that they hold whatever else is done."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.config.release import NO_RELEASE, changed_release
from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError, UnavailableError
from kserve_v2.messages import InferRequest
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.routing.split_model import SplitModel
from kserve_v2.repository.routing.store import find_release
from tests.repository.text_models import answer, managing, run, write

ALL = "version_policy { all { } }"


def answering(manager: ModelManager, version: str = "") -> int:
    """The version that answers a request."""
    model = manager.acquire("m", version)
    return (model.choose(InferRequest("m", {})) if isinstance(model, SplitModel) else model).version


def calls_of(manager: ModelManager, version: str) -> list[str]:
    """The Python functions that a look-up calls."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        manager.acquire("m", version)
    finally:
        sys.setprofile(None)
    return called


def test_a_look_up_is_one_call_with_labels_and_without(tmp_path: Path) -> None:
    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            assert calls_of(manager, "") == calls_of(manager, "1") == ["acquire"]
            await manager.releases.change("m", {"labels": {"PROD": 1}, "shadow": {"version": 1}}, "test")
            assert calls_of(manager, "") == calls_of(manager, "1") == calls_of(manager, "PROD") == ["acquire"]
            await manager.releases.change("m", {"split": {"shares": {"1": 100}}}, "test")
            assert calls_of(manager, "") == ["acquire"]
            assert type(manager.acquire("m", "PROD")) is type(manager.acquire("m", "1"))

    run(test)


def test_without_a_release_nothing_stands_in_front_of_a_model(tmp_path: Path) -> None:
    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            model = manager.acquire("m", "2")
            plain = model.submit
            assert plain == model.target.submit
            await manager.releases.change("m", {"shadow": {"version": 1}}, "test")
            assert manager.acquire("m") is model
            assert model.submit != plain
            assert manager.acquire("m", "1").submit == manager.acquire("m", "1").target.submit
            await manager.releases.change("m", {"shadow": None}, "test")
            assert model.submit == plain

    run(test)


def test_the_next_look_up_follows_a_change(tmp_path: Path) -> None:
    async def test() -> None:
        for version in (1, 2, 3):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            for version in (1, 2, 3, 1):
                changed = {"labels": {"PROD": version}, "split": {"shares": {str(version): 100}}}
                await manager.releases.change("m", changed, "test")
                assert await answer(manager, "m") == await answer(manager, "m", "PROD") == str(version)

    run(test)


def test_changes_at_once_are_made_one_after_the_other(tmp_path: Path) -> None:
    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            labels = [f"L{number}" for number in range(20)]
            changes = [manager.releases.change("m", {"labels": {each: 1}}, "test") for each in labels]
            # One of them leaves, and what it has asked for is done all the same.
            tasks = [asyncio.create_task(each) for each in changes]
            await asyncio.sleep(0)
            tasks[3].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert tasks[3].cancelled()
            view = await manager.releases.change("m", {}, "test")
            assert sorted(view.found.release.labels) == sorted(labels)
            config = manager.acquire("m").config
            assert find_release("m", tmp_path / "m", config, None) == view.found

    run(test)


def test_a_load_that_was_begun_before_a_change_does_not_undo_it(tmp_path: Path) -> None:
    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            await manager.releases.change("m", {"labels": {"PROD": 1}}, "test")
            write(tmp_path, "m", "3", 3)
            backend.load_gate.clear()
            backend.loading.clear()
            loading = asyncio.create_task(manager.load("m"))
            await asyncio.get_running_loop().run_in_executor(None, backend.loading.wait, 30)
            await manager.releases.change("m", {"labels": {"PROD": 2}}, "test")
            backend.load_gate.set()
            await loading
            assert answering(manager, "PROD") == 2
            assert answering(manager) == 3

    run(test)


def test_what_is_said_of_versions_that_are_none(tmp_path: Path) -> None:
    async def test() -> None:
        write(tmp_path, "m", "1", 1)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            with pytest.raises(
                NotFoundError, match=r"'m' has no version 'PROD', .*: it has no labels, .* loaded are 1$"
            ):
                manager.acquire("m", "PROD")
            await manager.releases.change("m", {"labels": {"PROD": 1}}, "test")
            with pytest.raises(
                NotFoundError, match=r"'m' has no version 'STG', .*: its labels are PROD, .* loaded are 1$"
            ):
                manager.acquire("m", "STG")
            with pytest.raises(InvalidArgumentError, match="version should be an integral value > 0"):
                manager.acquire("m", "-1")
            assert manager.acquire("m", "01") is manager.acquire("m", "PROD")
            manager.unload("m")
            with pytest.raises(UnavailableError, match="label 'PROD' of model 'm' stands for version 1"):
                manager.acquire("m", "PROD")

    run(test)


# --- whatever is done, in any order -----------------------------------------------------------------------------------

VERSIONS = st.integers(1, 3)
SHARES = st.sampled_from([{"1": 100}, {"2": 100}, {"1": 50, "3": 50}, {"2": 90, "3": 10}, {"1": 0, "2": 100}])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "remove", "break"]), VERSIONS),
        st.tuples(st.sampled_from(["load", "unload", "restart"]), st.none()),
        st.tuples(st.just("label"), st.tuples(st.sampled_from(["PROD", "STG"]), st.none() | VERSIONS)),
        st.tuples(st.just("split"), st.none() | SHARES),
    ),
    max_size=25,
)


class Reference:
    """What must hold: which versions lie on disk, which are served, and what was said last."""

    def __init__(self) -> None:
        self.disk: dict[int, bool] = {}
        self.served: set[int] = set()
        self.labels: dict[str, int] = {}
        self.split: Mapping[str, float] | None = None

    def named(self) -> set[int]:
        return {*self.labels.values(), *(int(version) for version in self.split or ())}

    def check(self, manager: ModelManager) -> None:
        for label in ("PROD", "STG"):
            expected = self.labels.get(label)
            if expected in self.served:
                assert answering(manager, label) == expected
            else:
                self.refuses(manager, label)
        for version in (1, 2, 3):
            if version in self.served:
                assert answering(manager, str(version)) == version
            else:
                self.refuses(manager, str(version))
        sharing = {int(version) for version, share in (self.split or {}).items() if share} & self.served
        if not self.served or (self.split is not None and not sharing):
            self.refuses(manager, "")
        elif self.split is None:
            assert answering(manager) == max(self.served)
        else:
            assert {answering(manager) for _ in range(3)} <= sharing

    @staticmethod
    def refuses(manager: ModelManager, version: str) -> None:
        with pytest.raises(ServingError):
            manager.acquire("m", version)


class Run:
    """Does the steps to a real repository and a real manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reference = Reference()
        (root / "m").mkdir()
        (root / "m" / "config.pbtxt").write_text(ALL)

    async def take(self, manager: ModelManager, kind: str, what: Any) -> None:
        reference, path = self.reference, self.root / "m"
        match kind:
            case "add" | "break":
                reference.disk[what] = kind == "add"
                write(self.root, "m", str(what) if kind == "add" else "fail", what)
            case "remove":
                reference.disk.pop(what, None)
                shutil.rmtree(path / str(what), ignore_errors=True)
            case "load":
                await self.load(manager)
            case "unload":
                manager.unload("m")
                reference.served.clear()
            case "label":
                label, version = what
                await self.change(manager, {"labels": {label: version}}, {version} - {None})
            case "split":
                document = {"split": what if what is None else {"shares": what}}
                await self.change(manager, document, {int(version) for version in what or ()})

    async def load(self, manager: ModelManager) -> None:
        reference = self.reference
        try:
            await manager.load("m")
        except ServingError:
            assert not reference.disk or not all(reference.disk.values())
        else:
            assert reference.disk
            assert all(reference.disk.values())
            reference.served = set(reference.disk)
        # Of a load that fails, those that are ready serve, and nothing goes that served before.
        if managed := manager.managed("m"):
            ready = {model.version for model in managed.ready}
            assert reference.served <= ready
            reference.served = ready

    async def change(self, manager: ModelManager, document: Any, named: set[int]) -> None:
        reference = self.reference
        try:
            view = await manager.releases.change("m", document, "test")
        except NotFoundError:
            new = named - reference.served
            assert not reference.served or new
            return
        except InvalidArgumentError:
            # There is no such label to take away.
            gone = [label for label, version in document.get("labels", {}).items() if version is None]
            assert gone
            assert not reference.labels.keys() & gone
            return
        assert reference.served
        release = view.found.release
        reference.labels = dict(release.labels)
        reference.split = {str(v): s for v, s in release.split.shares.items()} if release.split else None


@pytest.mark.slow
@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_the_release_holds(steps: list[tuple[str, Any]]) -> None:
    async def test(root: Path) -> None:
        doing = Run(root)
        todo = [("add", 1), ("add", 2), ("load", None), *steps]
        while todo:
            async with managing(root) as (manager, _):
                while todo:
                    kind, what = todo.pop(0)
                    if kind == "restart":
                        doing.reference.served.clear()
                        break
                    await doing.take(manager, kind, what)
                    doing.reference.check(manager)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(test(Path(directory)))


def test_what_is_kept_is_what_holds(tmp_path: Path) -> None:
    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        changes: list[dict[str, Any]] = [
            {"labels": {"PROD": 1}}, {"split": {"shares": {"1": 50, "2": 50}}}, {"labels": {"PROD": None, "B": 2}},
        ]  # fmt: skip
        expected = changed_release(
            changed_release(changed_release(NO_RELEASE, changes[0]), changes[1]), changes[2]
        )
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            for change in changes:
                await manager.releases.change("m", change, "test")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            assert (await manager.releases.show("m")).found.release == expected

    run(test)


def test_where_the_repository_cannot_be_read_a_release_stays(tmp_path: Path) -> None:
    async def test() -> None:
        root = tmp_path / "models"
        for version in (1, 2):
            write(root, "m", str(version), version, ALL)
        async with managing(root) as (manager, _):
            await manager.load("m")
            root.rename(tmp_path / "away")
            with pytest.raises(UnavailableError, match="the model repository cannot be read"):
                await manager.releases.change("m", {"split": {"shares": {"1": 100}}}, "test")
            assert answering(manager) == 2
            assert (await manager.releases.show("m")).found.release == NO_RELEASE

    run(test)


def test_versions_that_cannot_share_requests_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that asks for it is refused; but a version may become decoupled later."""

    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            await manager.releases.change("m", {"split": {"shares": {"1": 50, "2": 50}}}, "test")
            model = manager.managed("m")
            assert model is not None
            assert model.served is not None
            model.served.versions["2"].decoupled = True
            manager.routes.publish("m", model.served, model.released.release, settled=True)

    run(test)
    assert "of the versions that share requests, 2 is decoupled and others are not" in caplog.text


def test_a_version_that_is_away_is_not_released(tmp_path: Path) -> None:
    """It might be for good, and all requests to the label would be refused. What has been said before may be said again."""

    async def test() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version, ALL)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            change = partial(manager.releases.change, "m", who="test")
            await change({"labels": {"STG": 2}})
            second = manager.acquire("m", "2")
            second.down = "its process has ended"
            second.on_down()
            why = r": version 2 of model 'm' is not ready, expected one that is \(1\): its process has ended"
            for document, place in (
                ({"labels": {"PROD": 2}}, r"labels\['PROD'\]"),
                ({"split": {"shares": {"1": 50, "2": 50}}}, r"split.shares\['2'\]"),
                ({"shadow": {"version": 2}}, r"shadow.version"),
            ):
                with pytest.raises(UnavailableError, match=place + why):
                    await change(document)
            view = await change({"labels": {"PROD": 1, "STG": 2}})
            assert view.ready == [1]
            assert view.problems == [
                "label 'STG' stands for version 2, which is not ready: requests to it are refused"
            ]
            second.down = ""
            second.on_down()
            assert (await change({"labels": {"PROD": 2}})).ready == [1, 2]

    run(test)


def test_a_load_removes_what_a_killed_server_was_writing(tmp_path: Path) -> None:
    """In the model's directory and below the one for releases; what another server writes now stays."""
    root, kept = tmp_path / "models", tmp_path / "kept"
    write(root, "m", "1")
    (kept / "m").mkdir(parents=True)
    folders = root / "m", kept / "m"
    for folder in folders:
        for name in (".release.json.old", ".release.json.new", ".other"):
            (folder / name).write_text("{}")
        os.utime(folder / ".release.json.old", (1e9, 1e9))
        os.utime(folder / ".other", (1e9, 1e9))

    async def test() -> None:
        async with managing(root, release_directory=kept) as (manager, _):
            await manager.load("m")

    run(test)
    for folder in folders:
        hidden = {path.name for path in folder.iterdir() if path.name.startswith(".")}
        assert hidden == {".release.json.new", ".other"}
