"""Loading and unloading: no gap in service, no load too many, and a reason for everything that failed."""

import asyncio
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError, UnavailableError
from kserve_v2.messages import IndexEntry
from kserve_v2.repository.lifecycle.load_request import LoadRequest
from kserve_v2.repository.manager import ModelManager
from tests.repository.text_models import answer, is_set, managing, run, write


def test_load_serve_unload(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, _):
            assert await manager.index() == [IndexEntry("m")]
            await manager.load("m")
            assert await answer(manager, "m") == "one"
            assert await manager.index() == [IndexEntry("m", "1", "READY")]
            manager.unload("m")
            with pytest.raises(NotFoundError, match="has no available versions"):
                manager.acquire("m")
            while (await manager.index())[0].state == "UNLOADING":
                await manager.changed.wait()
            assert await manager.index() == [IndexEntry("m", "1", "UNAVAILABLE", "unloaded")]
            assert manager.all_ready()
            await manager.load("m")
            assert await answer(manager, "m") == "one"

    run(main)


def test_loading_what_has_not_changed_does_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await asyncio.gather(*(manager.load("m") for _ in range(5)))
            await manager.load("m")
            assert backend.loads == [("m", 1)]

    run(main)


def test_the_old_generation_serves_until_the_new_one_is_ready(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            write(tmp_path, "m", "another")
            backend.load_gate.clear()
            backend.loading.clear()
            reload = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            assert await answer(manager, "m") == "one"
            assert manager.all_ready()
            backend.load_gate.set()
            await reload
            assert await answer(manager, "m") == "another"

    run(main)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("fail", "Invalid argument: the file says fail"), ("crash", "Internal: ValueError: boom in vocabulary")],
)
def test_a_failed_reload_keeps_the_old_generation_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            write(tmp_path, "m", text)
            with pytest.raises(InvalidArgumentError) as error:
                await manager.load("m")
            assert error.value.message == (
                f"load failed for model 'm': version 1 is at UNAVAILABLE state: {reason};\n"
            )
            assert await answer(manager, "m") == "one"
            assert await manager.index() == [IndexEntry("m", "1", "READY", f"not updated: {reason}")]
            assert reason in caplog.text
            assert manager.all_ready()
            write(tmp_path, "m", "three")
            await manager.load("m")
            assert await answer(manager, "m") == "three"
            assert await manager.index() == [IndexEntry("m", "1", "READY")]

    run(main)


def test_a_broken_configuration_keeps_the_old_generation_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: many")
            with pytest.raises(InvalidArgumentError, match=r"m/config.pbtxt:1:17: "):
                await manager.load("m")
            assert await answer(manager, "m") == "one"
            (entry,) = await manager.index()
            assert (entry.state, entry.version) == ("READY", "1")
            assert entry.reason.startswith("not updated: Invalid argument: m/config.pbtxt:1:17: ")
            assert "m/config.pbtxt:1:17" in caplog.text

    run(main)


def test_what_does_not_answer_says_why(tmp_path: Path) -> None:
    """Triton's codes, and its words first; then what the repository index knows."""

    async def main() -> None:
        write(tmp_path, "bad", "fail")
        write(tmp_path, "gone", "one")
        write(tmp_path, "never", "one")
        (tmp_path / "nover").mkdir()
        async with managing(tmp_path) as (manager, _):
            await manager.load("gone")
            for name in ("bad", "nover"):
                with pytest.raises(InvalidArgumentError):
                    await manager.load(name)
            manager.unload("gone")
            (_, nover) = [entry for entry in await manager.index() if entry.name in ("bad", "nover")]
            bad = "version 1 is at UNAVAILABLE state: Invalid argument: the file says fail"
            unknown = "Request for unknown model"
            for name, version, kind, text in (
                ("nosuch", "", NotFoundError, "'nosuch' is not found"),
                ("never", "", NotFoundError, "'never' is not found"),
                ("nover", "", NotFoundError,
                 f"'nover' has no available versions: it could not be loaded: {nover.reason}"),
                ("nover", "1", NotFoundError,
                 f"'nover' version 1 is not found: it could not be loaded: {nover.reason}"),
                ("bad", "", NotFoundError, f"'bad' has no available versions: {bad}"),
                ("bad", "1", UnavailableError, f"'bad' version 1 is not at ready state: {bad}"),
                ("bad", "2", NotFoundError, "'bad' version 2 is not found"),
                ("gone", "", NotFoundError, "'gone' has no available versions"),
                ("gone", "1", UnavailableError, "'gone' version 1 is not at ready state"),
            ):  # fmt: skip
                with pytest.raises(kind) as error:
                    manager.acquire(name, version)
                assert error.value.message == f"{unknown}: {text}"
            assert "at least one version must be available" in nover.reason

    run(main)


def test_one_model_that_fails_takes_no_other_down(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "bad", "fail")
        write(tmp_path, "good", "one")
        (tmp_path / "versionless").mkdir()
        (tmp_path / "versionless" / "config.pbtxt").write_text("")
        async with managing(tmp_path) as (manager, _):
            results = await asyncio.gather(
                *(manager.load(name) for name in (await manager.scan()).models), return_exceptions=True
            )
            assert [type(result) for result in results] == [
                InvalidArgumentError,
                type(None),
                InvalidArgumentError,
            ]
            assert await answer(manager, "good") == "one"
            assert [(entry.name, entry.state) for entry in await manager.index()] == [
                ("bad", "UNAVAILABLE"),
                ("good", "READY"),
                ("versionless", "UNAVAILABLE"),
            ]
            assert not manager.all_ready()

    run(main)


def test_unload_while_loading_ends_unloaded(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            backend.load_gate.clear()
            loading = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            assert not manager.all_ready()
            manager.unload("m")
            backend.load_gate.set()
            with pytest.raises(
                UnavailableError, match="load failed for model 'm': it was unloaded meanwhile"
            ):
                await loading
            while (await manager.index())[0].state != "UNAVAILABLE":
                await manager.changed.wait()
            assert backend.open == 0

    run(main)


def test_unload_while_the_directory_is_read_ends_unloaded(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            may_read = threading.Event()
            manager._loader._reader.submit(may_read.wait, 30)
            overtaken = [asyncio.create_task(manager.load("m")) for _ in range(2)]
            await asyncio.sleep(0)
            manager.unload("m")
            last = asyncio.create_task(manager.load("m"))
            await asyncio.sleep(0)
            manager.unload("m")
            may_read.set()
            for load in (*overtaken, last):
                with pytest.raises(
                    UnavailableError, match="load failed for model 'm': it was unloaded meanwhile"
                ):
                    await load
            assert backend.loads == []
            assert await manager.index() == [IndexEntry("m")]
            assert manager.all_ready()
            # The command that comes last is the one that counts.
            manager.unload("m")
            await manager.load("m")
            assert await answer(manager, "m") == "one"

    run(main)


ENSEMBLE = """
platform: "ensemble"
input { name: "x" data_type: TYPE_INT32 dims: 1 }
output { name: "text" data_type: TYPE_STRING dims: 1 }
ensemble_scheduling {
  step { model_name: "m" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "text" value: "text" } }
}
"""
INPUT = 'input { name: "x" data_type: TYPE_INT32 dims: 1 }'


def test_a_step_that_is_unloaded_stays_so_though_its_ensemble_was_about_to_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=INPUT)
        (tmp_path / "e" / "1").mkdir(parents=True)
        (tmp_path / "e" / "config.pbtxt").write_text(ENSEMBLE)
        async with managing(tmp_path) as (manager, backend):

            async def states() -> dict[str, tuple[str, str]]:
                while True:
                    found = {each.name: (each.state, each.reason) for each in await manager.index()}
                    if {state for state, _ in found.values()}.isdisjoint({"LOADING", "UNLOADING"}):
                        return found
                    await manager.changed.wait()

            await manager.load("e")
            manager.unload("m")
            unloaded = {"e": ("UNAVAILABLE", "unloaded"), "m": ("UNAVAILABLE", "unloaded")}
            assert await states() == unloaded
            # With the step the ensemble comes back, which takes a while.
            await manager.load("m")
            manager.unload("m")
            assert await states() == unloaded
            assert manager.all_ready()
            assert backend.loads == [("m", 1), ("m", 1)]
            # It has not forgotten that it is wanted.
            await manager.load("m")
            assert await states() == {"e": ("READY", ""), "m": ("READY", "")}

    run(main)


def test_unload_lets_what_is_under_way_finish(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            backend.execution_gate.clear()
            requests = [asyncio.create_task(answer(manager, "m")) for _ in range(3)]
            await is_set(backend.entered)
            manager.unload("m")
            assert (await manager.index())[0].state == "UNLOADING"
            assert not manager.all_ready()
            # It may come back before it has gone.
            await manager.load("m")
            assert [entry.state for entry in await manager.index()] == ["READY"]
            backend.execution_gate.set()
            assert await asyncio.gather(*requests) == ["one"] * 3

    run(main)


def test_stopping_fails_what_waits_and_awaits_what_runs(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            backend.execution_gate.clear()
            running = asyncio.create_task(answer(manager, "m"))
            await is_set(backend.entered)
            waiting = asyncio.create_task(answer(manager, "m"))
            await asyncio.sleep(0)
            stopping = asyncio.create_task(manager.stop())
            # While the instance is busy: it is not what ends the wait.
            with pytest.raises(UnavailableError, match="Server exiting"):
                await waiting
            assert not running.done()
            backend.execution_gate.set()
            assert await running == "one"
            await stopping

    run(main)


def test_generations_that_are_over_leave_nothing_behind(tmp_path: Path) -> None:
    """A model that is changed every minute is still one line of the index, and one record."""

    async def main() -> None:
        async with managing(tmp_path) as (manager, _):
            for number in range(19):
                write(tmp_path, "m", "fail" if number % 3 == 1 else str(number))
                try:
                    await manager.load("m")
                except InvalidArgumentError:
                    assert number % 3 == 1
            while len(manager._models["m"].records) > 1:
                await manager.changed.wait()
            assert await answer(manager, "m") == "18"
            assert await manager.index() == [IndexEntry("m", "1", "READY")]

    run(main)


def test_versions(tmp_path: Path) -> None:
    async def main() -> None:
        for version in (1, 2, 10):
            write(tmp_path, "m", str(version), version, "version_policy { all {} }")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            assert [model.version for model in manager.ready_versions("m")] == [1, 2, 10]
            assert await answer(manager, "m") == "10"
            assert [await answer(manager, "m", text) for text in ("1", "2", "02")] == ["1", "2", "2"]
            (tmp_path / "m" / "config.pbtxt").write_text("version_policy { specific { versions: [2] } }")
            await manager.load("m")
            assert await answer(manager, "m") == "2"

    run(main)


def test_what_is_unloaded_does_not_answer_with_why_an_earlier_load_failed(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, _):
            await manager.load("m")
            write(tmp_path, "m", "fail")
            with pytest.raises(InvalidArgumentError, match="the file says fail"):
                await manager.load("m")
            manager.unload("m")
            with pytest.raises(NotFoundError) as error:
                manager.acquire("m")
            assert error.value.message == "Request for unknown model: 'm' has no available versions"

    run(main)


def test_a_configuration_override_holds_until_the_unload(tmp_path: Path) -> None:
    async def main() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version)
        async with managing(tmp_path) as (manager, _):
            await manager.load("m", LoadRequest('{"version_policy": {"specific": {"versions": [1]}}}'))
            assert await answer(manager, "m") == "1"
            write(tmp_path, "m", "new", 1)
            await manager.load("m")
            assert await answer(manager, "m") == "new"
            manager.unload("m")
            await manager.load("m")
            assert await answer(manager, "m") == "2"

    run(main)


def test_an_override_that_fails_is_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            for override in (
                '{"maxBatchSize": -1}',
                '{"versionPolicy": {"specific": {"versions": [7]}}}',
                "no JSON",
            ):
                with pytest.raises(InvalidArgumentError):
                    await manager.load("m", LoadRequest(override))
                assert await answer(manager, "m") == "one"
                await manager.load("m")
                # Nothing was to be loaded for that, and nothing is left of the failure.
                assert backend.loads == [("m", 1)]
                assert await manager.index() == [IndexEntry("m", "1", "READY")]
                assert manager.all_ready()

    run(main)


def test_an_override_that_fails_leaves_the_one_before_in_force(tmp_path: Path) -> None:
    async def main() -> None:
        for version in (1, 2):
            write(tmp_path, "m", str(version), version)
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m", LoadRequest('{"versionPolicy": {"specific": {"versions": [1]}}}'))
            with pytest.raises(InvalidArgumentError):
                await manager.load("m", LoadRequest('{"maxBatchSize": -1}'))
            await manager.load("m")
            assert await answer(manager, "m") == "1"
            assert backend.loads == [("m", 1)]
            write(tmp_path, "m", "fail")
            with pytest.raises(InvalidArgumentError):
                await manager.load("m")
            write(tmp_path, "m", "new")
            await manager.load("m")
            assert await answer(manager, "m") == "new"

    run(main)


@pytest.mark.parametrize("broken", [False, True])
def test_a_version_serves_until_its_successor_does(tmp_path: Path, broken: bool) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            write(tmp_path, "m", "fail" if broken else "two", 2)
            backend.load_gate.clear()
            backend.loading.clear()
            upgrade = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            assert [await answer(manager, "m", version) for version in ("", "1")] == ["one", "one"]
            assert manager.all_ready()
            backend.load_gate.set()
            if broken:
                with pytest.raises(InvalidArgumentError, match="version 2 is at UNAVAILABLE state"):
                    await upgrade
                assert await answer(manager, "m") == "one"
                assert [(entry.version, entry.state) for entry in await manager.index()] == [
                    ("1", "READY"),
                    ("2", "UNAVAILABLE"),
                ]
            else:
                await upgrade
                assert await answer(manager, "m") == "two"
                with pytest.raises(UnavailableError):
                    manager.acquire("m", "1")
            assert manager.all_ready()

    run(main)


def test_a_version_that_drains_after_its_upgrade_does_not_hold_up_readiness(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            await manager.load("m")
            backend.execution_gate.clear()
            request = asyncio.create_task(answer(manager, "m"))
            await is_set(backend.entered)
            write(tmp_path, "m", "two", 2)
            await manager.load("m")
            assert [(entry.version, entry.state) for entry in await manager.index()] == [
                ("1", "UNLOADING"),
                ("2", "READY"),
            ]
            assert manager.all_ready()
            backend.execution_gate.set()
            assert await request == "one"

    run(main)


def test_the_index_and_the_directories_of_others_do_not_wait_for_a_load(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "slow", "one")
        write(tmp_path, "n", "one", config="max_batch_size: many")
        async with managing(tmp_path, load_threads=1) as (manager, backend):
            backend.load_gate.clear()
            loading = asyncio.create_task(manager.load("slow"))
            await is_set(backend.loading)
            assert [(entry.name, entry.state) for entry in await manager.index()] == [
                ("n", ""),
                ("slow", "LOADING"),
            ]
            assert list((await manager.scan()).models) == ["n", "slow"]
            with pytest.raises(InvalidArgumentError):
                await manager.load("n")
            assert not loading.done()
            backend.load_gate.set()
            await loading

    run(main)


def test_a_load_whose_caller_leaves_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            backend.load_gate.clear()
            left = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            other = asyncio.create_task(manager.load("m"))
            backend.load_gate.set()
            await other
            assert await answer(manager, "m") == "one"
            assert backend.loads == [("m", 1)]

    run(main)


def test_a_load_that_fails_after_an_unload_holds_up_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "fail")
        async with managing(tmp_path) as (manager, backend):
            backend.load_gate.clear()
            loading = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            manager.unload("m")
            with pytest.raises(UnavailableError, match="it was unloaded meanwhile"):
                await loading
            backend.load_gate.set()
            while not manager.all_ready():
                await manager.changed.wait()
            assert await manager.index() == [IndexEntry("m", "1", "UNAVAILABLE", "unloaded")]

    run(main)


def test_a_load_that_hangs_holds_up_nothing_after_an_unload(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one")
        async with managing(tmp_path) as (manager, backend):
            hanging, following = backend.load_gate, threading.Event()
            hanging.clear()
            loading = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            manager.unload("m")
            with pytest.raises(UnavailableError, match="it was unloaded meanwhile"):
                await loading
            backend.loading.clear()
            backend.load_gate = following
            write(tmp_path, "m", "repaired")
            loading = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            # What was unloaded does not answer, now that it could.
            hanging.set()
            managed = manager.managed("m")
            while managed is not None and len(managed.records) > 1:
                await manager.changed.wait()
                assert not manager.answers("m")
            following.set()
            await loading
            assert await answer(manager, "m") == "repaired"

    run(main)


def test_a_load_takes_as_many_steps_whatever_else_is_loaded(tmp_path: Path) -> None:
    async def steps_of(manager: ModelManager, name: str) -> int:
        """Functions of the repository that the event loop's thread calls to load a model, and to unload it."""
        steps = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal steps
            steps += event == "call" and "/kserve_v2/repository/" in frame.f_code.co_filename

        write(tmp_path, name, "one")
        sys.setprofile(count)
        try:
            await manager.load(name)
            assert manager.all_ready()
            manager.unload(name)
            while not manager.all_ready():
                await manager.changed.wait()
        finally:
            sys.setprofile(None)
        return steps

    async def main() -> None:
        async with managing(tmp_path) as (manager, _):
            among_few = await steps_of(manager, "first")
            for number in range(50):
                write(tmp_path, f"m{number}", "one")
            await asyncio.gather(*(manager.load(f"m{number}") for number in range(50)))
            among_many = await steps_of(manager, "last")
            # Waiting for threads takes a turn more or less.
            assert abs(among_many - among_few) <= 5

    run(main)


def test_names_that_clients_make_up_are_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with managing(tmp_path) as (manager, _):
            for number in range(10):
                with pytest.raises(NotFoundError):
                    await manager.load(f"made_up_{number}")
                manager.unload(f"made_up_{number}")
            await asyncio.sleep(0)
            assert repr(manager) == "<ModelManager []>"

    run(main)


@pytest.mark.parametrize(
    ("name", "version", "kind", "text"),
    [
        ("nosuch", "", NotFoundError, "Request for unknown model: 'nosuch' is not found"),
        ("nosuch", "1", NotFoundError, "Request for unknown model: 'nosuch' is not found"),
        ("", "", NotFoundError, "Request for unknown model: '' is not found"),
        ("m", "7", NotFoundError, "Request for unknown model: 'm' version 7 is not found"),
        ("m", "0", NotFoundError, "Request for unknown model: 'm' version 0 is not found"),
        ("gone", "", NotFoundError, "Request for unknown model: 'gone' has no available versions"),
        ("gone", "1", UnavailableError, "Request for unknown model: 'gone' version 1 is not at ready state"),
        ("bad", "1", UnavailableError, "Request for unknown model: 'bad' version 1 is not at ready state"),
        ("m", "abc", NotFoundError, "neither a number nor a label of this model: it has no labels"),
        ("m", "1a", InvalidArgumentError, "version should be an integral value > 0"),
        ("gone", "abc", NotFoundError, "it has no labels, and the versions that are loaded are none"),
        ("nosuch", "abc", NotFoundError, "Request for unknown model: 'nosuch' is not found"),
        ("m", "-1", InvalidArgumentError, "version should be an integral value > 0"),
        ("m", "9" * 30, InvalidArgumentError, "version should be an integral value > 0"),
        ("m", "٣", InvalidArgumentError, "version should be an integral value > 0"),
        # Python takes these for 1 and 10.
        ("m", "1 ", InvalidArgumentError, "specified version string '1 '"),
        ("m", "+1", InvalidArgumentError, "specified version string '+1'"),
        ("m", "1_0", InvalidArgumentError, "specified version string '1_0'"),
        ("m", "-0", NotFoundError, "Request for unknown model: 'm' version 0 is not found"),
        ("m", "-" + "0" * 99, InvalidArgumentError, "version should be an integral value > 0"),
    ],
)
def test_models_that_do_not_answer(
    tmp_path: Path, name: str, version: str, kind: type[ServingError], text: str
) -> None:
    async def main() -> None:
        for model, content in (("m", "one"), ("gone", "one"), ("bad", "fail")):
            write(tmp_path, model, content)
        async with managing(tmp_path) as (manager, _):
            await asyncio.gather(
                *(manager.load(each) for each in ("m", "gone", "bad")), return_exceptions=True
            )
            manager.unload("gone")
            with pytest.raises(kind) as error:
                manager.acquire(name, version)
            assert text in error.value.message

    run(main)


@pytest.mark.parametrize("name", ["../m", "..", ".", "m/../m", "/etc", "a\0b", "", " "])
def test_names_from_clients_never_leave_the_repository(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        root = tmp_path / "repository"
        write(root, "m", "one")
        write(tmp_path, "m", "outside")
        async with managing(root) as (manager, backend):
            with pytest.raises((NotFoundError, InvalidArgumentError)):
                await manager.load(name)
            assert backend.loads == []

    run(main)
