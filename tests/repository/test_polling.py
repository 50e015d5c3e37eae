"""The poller, look by look: real directories and scans, a clock of its own, and somebody who notes what to load."""

import asyncio
import errno
import logging
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.errors import InvalidArgumentError, ServingError, UnavailableError
from kserve_v2.repository.reading.scan import Snapshot, scan
from kserve_v2.repository.sources import polling
from kserve_v2.repository.sources.polling import Pace, Poller
from kserve_v2.repository.sources.retries import FIRST_DELAY_S
from kserve_v2.repository.sources.watching import Watcher


class Models:
    """Notes what it is told. `errors`: what loads end with, by name; `gate`: what they wait for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands: list[str] = []
        self.errors: dict[str, ServingError] = {}
        self.trouble: OSError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.wanted: set[str] = set()
        self.refreshed: list[str] = []
        self.release_calls: dict[str, int] = {}

    async def refresh(self, *, only_loaded: bool = False) -> None:
        self.refreshed.append("loaded" if only_loaded else "all")

    async def scan(self) -> Snapshot:
        if self.trouble is not None:
            raise self.trouble
        return scan([self.root])

    async def load(self, name: str) -> None:
        self.commands.append(f"load {name}")
        await self.gate.wait()
        if error := self.errors.get(name):
            raise error
        self.wanted.add(name)

    def unload(self, name: str) -> None:
        self.commands.append(f"unload {name}")

    def is_wanted(self, name: str) -> bool:
        return name in self.wanted

    def answers(self, name: str) -> bool:
        return name in self.wanted


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def loaded(self, name: str, seconds: float) -> None:
        self.lines.append(f"loaded {name}")

    def failed(self, name: str, error: ServingError, *, answers: bool) -> None:
        self.lines.append(f"failed {name}: {error.message} ({'answers' if answers else 'does not answer'})")

    def unloaded(self, name: str) -> None:
        self.lines.append(f"unloaded {name}")


class Bench:
    """A poller whose looks the test has it do."""

    def __init__(self, root: Path, *, only_loaded: bool = False) -> None:
        self.root = root
        self.now_s = 100.0
        self.models, self.told = Models(root), Told()
        pace = Pace(every_s=15, settle_s=2, only_loaded=only_loaded)
        self.poller = Poller(self.models, [root], pace, self.told, lambda: self.now_s)

    def write(self, name: str, text: str) -> None:
        (self.root / name / "1").mkdir(parents=True, exist_ok=True)
        (self.root / name / "1" / "model.py").write_text(text)

    async def look(self, after_s: float = 0.0) -> float | None:
        """What is to be done is done, but for loads that wait at the gate."""
        self.now_s += after_s
        at = await self.poller.look()
        for _ in range(5):
            await asyncio.sleep(0)
        return at

    async def settle(self) -> None:
        await self.look()
        await self.look(2.0)

    def taken(self) -> list[str]:
        commands = self.models.commands[:]
        self.models.commands.clear()
        return commands


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_a_model_that_fails_is_tried_again_later_and_later(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.errors["m"] = InvalidArgumentError("no")
        assert await bench.look() == bench.now_s + 2.0
        await bench.look(2.0)
        assert bench.taken() == ["load m"]
        for delay_s in (FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S):
            assert await bench.look() == bench.now_s + delay_s
            await bench.look(delay_s - 0.1)
            assert bench.taken() == []
            await bench.look(0.1)
            assert bench.taken() == ["load m"]
        # Something has changed: it does not wait for its turn.
        bench.write("m", "other text")
        del bench.models.errors["m"]
        await bench.settle()
        assert bench.taken() == ["load m"]
        assert await bench.look(10_000) is None
        assert bench.taken() == []
        assert bench.told.lines == ["failed m: no (does not answer)"] * 4 + ["loaded m"]

    run(main)


def test_what_a_call_has_written_may_be_taken_away_unseen(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        await bench.settle()
        assert bench.taken() == ["load m"]
        # Its file was there between two looks only; a load sees that it is not.
        bench.models.release_calls["m"] = 1
        await bench.settle()
        assert bench.taken() == ["load m"]
        await bench.settle()
        assert bench.taken() == []

    run(main)


def test_one_that_has_no_room_is_tried_again_and_not_called_broken(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.errors["m"] = UnavailableError("no room")
        await bench.settle()
        assert bench.taken() == ["load m"]
        assert await bench.look() == bench.now_s + FIRST_DELAY_S
        await bench.look(FIRST_DELAY_S)
        assert bench.taken() == ["load m"]
        assert bench.told.lines == []

    run(main)


def test_one_that_is_taken_away_while_it_is_loaded_is_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.gate.clear()
        bench.models.errors["m"] = UnavailableError("it was unloaded meanwhile")
        await bench.settle()
        shutil.rmtree(tmp_path / "m")
        await bench.settle()
        assert bench.taken() == ["load m", "unload m"]
        bench.models.gate.set()
        assert await bench.look(10_000) is None
        assert bench.taken() == []
        assert bench.told.lines == ["unloaded m"]

    run(main)


def test_changes_during_a_load_wait_for_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.gate.clear()
        await bench.settle()
        bench.write("m", "other text")
        bench.write("n", "one")
        await bench.settle()
        await bench.look(60)
        assert bench.taken() == ["load m", "load n"]
        bench.models.gate.set()
        await bench.look()
        await bench.look()
        assert bench.taken() == ["load m"]

    run(main)


def test_what_was_loaded_at_the_start_is_known(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        for name in ("fine", "broken", "changed"):
            bench.write(name, "one")
        snapshot = scan([tmp_path])
        # While it was being loaded.
        bench.write("changed", "other text")
        bench.poller.note_start(snapshot, ["broken"])
        await bench.settle()
        assert bench.taken() == ["load changed"]
        await bench.look(FIRST_DELAY_S)
        assert bench.taken() == ["load broken"]

    run(main)


def test_a_look_that_fails_unloads_nothing_and_is_mentioned_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        await bench.settle()
        bench.taken()
        bench.models.trouble = OSError(errno.EIO, "Input/output error", "/models")
        for _ in range(3):
            assert await bench.look(15) is None
        assert (
            caplog.text.count("cannot read the model repository, all models stay as they are: /models") == 1
        )
        bench.models.trouble = None
        await bench.settle()
        assert caplog.text.count("can be read again") == 1
        assert bench.taken() == []

    with caplog.at_level(logging.INFO):
        run(main)


def test_a_mount_that_is_gone_unloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty directory remains where something was mounted."""

    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        await bench.settle()
        bench.taken()
        (tmp_path / "m").rename(tmp_path.with_name("away"))
        devices = {tmp_path: -1}
        monkeypatch.setattr(polling, "_devices", lambda _: devices)
        await bench.settle()
        assert bench.taken() == []
        assert "it is empty, and on another file system than before" in caplog.text
        # It is there again, with less in it than before.
        monkeypatch.undo()
        await bench.settle()
        assert bench.taken() == ["unload m"]
        shutil.rmtree(tmp_path.with_name("away"))

    run(main)


def test_where_others_decide_what_is_loaded_only_that_is_loaded_again(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, only_loaded=True)
        for name in ("loaded", "other", "gone"):
            bench.write(name, "one")
        bench.models.wanted = {"loaded", "gone"}
        bench.poller.note_start(scan([tmp_path]), [])
        bench.write("loaded", "other text")
        bench.write("other", "other text")
        bench.write("added", "other text")
        shutil.rmtree(tmp_path / "gone")
        await bench.settle()
        assert bench.taken() == ["load loaded"]
        # Unloaded by somebody: that is how it stays.
        bench.models.wanted.discard("loaded")
        bench.write("loaded", "third text, longer")
        await bench.settle()
        assert bench.taken() == []

    run(main)


@pytest.mark.parametrize("only_loaded", [False, True])
def test_other_places_are_asked_at_the_pace_and_not_at_every_event(
    tmp_path: Path, *, only_loaded: bool
) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, only_loaded=only_loaded)
        for after_s in (0, 0.1, 5, 9.8, 0.1, 0.1, 15):
            await bench.look(after_s)
        assert bench.models.refreshed == ["loaded" if only_loaded else "all"] * 3

    run(main)


def test_a_model_that_keeps_changing_is_mentioned_now_and_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        for size in range(40):
            bench.write("m", "x" * size)
            await bench.look(1.5)
        assert bench.taken() == []
        await bench.look(2.0)
        assert bench.taken() == ["load m"]
        lines = [record.getMessage() for record in caplog.records]
        assert [line for line in lines if "m'" in line] == [
            "model 'm' has changed in the model repository: waiting until it has stayed the same for 2 s",
            "model 'm' still changes in the model repository: waiting until it has stayed the same for 2 s",
        ]

    with caplog.at_level(logging.INFO):
        run(main)


@pytest.mark.skipif(not Watcher.available(), reason="watchfiles is not installed")
@pytest.mark.slow
def test_events_of_the_file_system_make_the_look_come_at_once(tmp_path: Path) -> None:
    """The next look would come after a quarter of an hour."""

    async def main() -> None:
        models = Models(tmp_path)
        poller = Poller(models, [tmp_path], Pace(every_s=900, settle_s=0))
        poller.start()
        try:
            async with asyncio.timeout(60):
                # The watch begins on a thread, at some time.
                number = 0
                while not models.commands:
                    number += 1
                    (tmp_path / "m" / "1").mkdir(parents=True, exist_ok=True)
                    (tmp_path / "m" / "1" / "model.py").write_text("x" * number)
                    await asyncio.sleep(0.05)
        finally:
            poller.stop()
        assert models.commands[0] == "load m"

    run(main)
