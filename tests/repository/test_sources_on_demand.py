"""Loads that requests ask for, with a clock of the test's; `tests/integration/test_on_demand.py` has them for real."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.errors import (
    InvalidArgumentError,
    NoRoomError,
    NoRoomYetError,
    NotFoundError,
    OverloadedError,
    ServingError,
    UnavailableError,
)
from kserve_v2.repository.reading.scan import ModelEntry, scan_model
from kserve_v2.repository.sources.on_demand import OnDemand
from kserve_v2.repository.sources.retries import FIRST_DELAY_S
from kserve_v2.repository.sources.room_line import MOST_BEFORE
from tests.set_clock import SetClock


class Models:
    """Real directories, and loads that are noted. `error`: what they end with, though some versions are loaded if
    `partly`; `gate`: what they wait for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.finds: list[str] = []
        self.loads: list[str] = []
        self.error: ServingError | None = None
        self.partly = False
        self.began, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.full: set[str] = set()
        self.admitted: set[str] = set()
        self.changed = asyncio.Event()

    def changing(self) -> asyncio.Event:
        return self.changed

    def first_with_room(self, wanted: Iterable[tuple[str, Mapping[str, int]]]) -> str | None:
        return next((name for name, _ in wanted if name not in self.full), None)

    def room_in(self, name: str, needed: Mapping[str, int]) -> float | None:
        return 10

    def is_admitted(self, name: str) -> bool:
        return name in self.admitted

    def tell_of_change(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def find(self, name: str) -> ModelEntry | None:
        self.finds.append(name)
        await asyncio.sleep(0)
        return scan_model([self.root], name)

    async def load(self, name: str) -> None:
        self.loads.append(name)
        self.began.set()
        await self.gate.wait()
        if name in self.full:
            raise NoRoomYetError(f"no room for '{name}' yet", 10, {"cpu": 1})
        if self.error is not None:
            raise self.error

    def is_loaded(self, name: str) -> bool:
        return self.partly

    def reasons(self, name: str) -> str:
        return ": because"


class Bench:
    def __init__(self, root: Path, wait_s: float = 60.0) -> None:
        self.root = root
        self.loop = asyncio.get_running_loop()
        self.now_s = 100.0
        self.models = Models(root)
        self.on_demand = OnDemand(self.models, self.models, wait_s, self.loop.time)

    @property
    def now_s(self) -> float:
        """How late it is, for the loop and its timers, too."""
        return self.loop.time()

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        assert isinstance(self.loop, SetClock)
        self.loop.now_s = now_s

    def write(self, name: str, text: str) -> None:
        (self.root / name / "1").mkdir(parents=True, exist_ok=True)
        (self.root / name / "1" / "model.py").write_text(text)

    async def outcome(self, name: str) -> str:
        try:
            await self.on_demand.demand(name)
        except ServingError as error:
            return f"{type(error).__name__}: {error.message.rpartition(chr(39))[2].strip()}"
        return "loaded"


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=SetClock) as runner:
        runner.run(main())


def test_one_that_never_fits_is_not_loaded_for_every_request(tmp_path: Path) -> None:
    """What a handler takes is known when it is loaded, and more than there may be."""

    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.error = NoRoomError("no room for 'm' at all")
        for _ in range(3):
            assert await bench.outcome("m") == "NoRoomError: at all"
        assert bench.models.loads == ["m"]
        # Something else is there, or some time has passed, or what was to stay has gone.
        bench.write("m", "another one")
        assert await bench.outcome("m") == "NoRoomError: at all"
        bench.now_s += FIRST_DELAY_S
        assert await bench.outcome("m") == "NoRoomError: at all"
        bench.now_s += FIRST_DELAY_S
        assert await bench.outcome("m") == "NoRoomError: at all"
        bench.on_demand.unloaded(["other"])
        assert await bench.outcome("m") == "NoRoomError: at all"
        assert bench.models.loads == ["m"] * 5
        bench.models.error = None
        bench.now_s += FIRST_DELAY_S
        assert await bench.outcome("m") == "loaded"

    run(main)


def test_all_who_ask_at_the_same_time_share_a_look_and_a_load(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        asked = [asyncio.create_task(bench.outcome("m")) for _ in range(20)]
        assert await asyncio.gather(*asked) == ["loaded"] * 20
        assert (bench.models.finds, bench.models.loads) == (["m"], ["m"])
        # It was unloaded since.
        assert await bench.outcome("m") == "loaded"
        assert bench.models.loads == ["m", "m"]

    run(main)


def test_names_that_nobody_knows_leave_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        await bench.outcome("m")
        size = {
            name: len(value) for name, value in vars(bench.on_demand).items() if hasattr(value, "__len__")
        }
        for number in range(50):
            with pytest.raises(NotFoundError, match=f"'made_up_{number}' is not found"):
                await bench.on_demand.demand(f"made_up_{number}")
        assert {name: len(value) for name, value in vars(bench.on_demand).items() if name in size} == size
        for flight in (bench.on_demand._finding, bench.on_demand._loading):
            assert flight.under_way("made_up_0") is None
            assert flight._tasks == {}
        assert bench.models.loads == ["m"]

    run(main)


def test_a_broken_version_is_not_its_model(tmp_path: Path) -> None:
    """Who asked for another one has it, also after the model was evicted."""

    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.error, bench.models.partly = InvalidArgumentError("version 1 is broken"), True
        assert await bench.outcome("m") == "loaded"
        assert await bench.outcome("m") == "loaded"
        assert bench.models.loads == ["m", "m"]

    run(main)


def test_a_broken_model_is_tried_again_later_and_later_or_when_it_has_changed(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.error = InvalidArgumentError("no")
        refused = "UnavailableError: is not at ready state: because"
        for delay_s in (FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S):
            before = len(bench.models.loads)
            assert [await bench.outcome("m") for _ in range(3)] == [refused] * 3
            assert len(bench.models.loads) == before + 1
            bench.now_s += delay_s - 0.1
            assert await bench.outcome("m") == refused
            assert len(bench.models.loads) == before + 1
            bench.now_s += 0.1
        bench.now_s -= 0.1
        bench.write("m", "other text")
        bench.models.error = None
        assert await bench.outcome("m") == "loaded"

    run(main)


@pytest.mark.parametrize("error", [UnavailableError("it was unloaded meanwhile"), OverloadedError("no room")])
def test_what_is_no_fault_of_the_model_is_told_as_it_is_and_tried_again_at_once(
    tmp_path: Path, error: ServingError
) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.error = error
        for _ in range(2):
            with pytest.raises(type(error), match=error.message):
                await bench.on_demand.demand("m")
        assert bench.models.loads == ["m", "m"]

    run(main)


def test_whoever_leaves_leaves_the_load_to_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.gate.clear()
        leaving, staying = (asyncio.create_task(bench.outcome("m")) for _ in range(2))
        await bench.models.began.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        bench.models.gate.set()
        assert await staying == "loaded"
        assert bench.models.loads == ["m"]

    run(main)


def test_without_time_to_wait_the_load_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, wait_s=0)
        bench.write("m", "one")
        bench.models.gate.clear()
        told = "UnavailableError: is not at ready state: it is being loaded"
        assert [await bench.outcome("m") for _ in range(3)] == [told] * 3
        assert bench.models.loads == ["m"]
        bench.models.gate.set()

    run(main)


def test_who_waits_is_told_that_the_server_exits(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.gate.clear()
        waiting = asyncio.create_task(bench.outcome("m"))
        await bench.models.began.wait()
        bench.on_demand.exit()
        assert await waiting == await bench.outcome("m") == "ExitingError: Server exiting"
        assert bench.models.loads == ["m"]
        bench.models.gate.set()

    run(main)


async def others() -> None:
    """Let everything run that can. A look at the disk is one of the models' own, and takes no thread."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_who_finds_no_room_waits_until_there_is_some(tmp_path: Path) -> None:
    """In the order in which they have come; nothing is loaded before there is room for it."""

    async def main() -> None:
        bench = Bench(tmp_path)
        models = bench.models
        models.full = {"a", "b", "c"}
        asked = []
        for name in ("a", "b", "c", "b"):
            bench.write(name, name)
            asked.append(asyncio.create_task(bench.outcome(name)))
            await others()
        assert models.loads == ["a", "b", "c"]
        models.tell_of_change()
        await others()
        assert models.loads == ["a", "b", "c"]
        models.full.remove("b")
        models.tell_of_change()
        await others()
        assert models.loads == ["a", "b", "c", "b"]
        assert [each.done() for each in asked] == [False, True, False, True]
        models.full.clear()
        models.tell_of_change()
        assert await asyncio.gather(*asked) == ["loaded"] * 4
        assert models.loads == ["a", "b", "c", "b", "a", "c"]
        left = (bench.on_demand._short, bench.on_demand._until_s, bench.on_demand._unloaded)
        assert left == ({}, {}, {})
        assert not bench.on_demand._line._places

    run(main)


def test_who_comes_later_is_loaded_after_those_for_whom_there_is_room(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        models = bench.models
        models.full = {"first", "second"}
        asked = []

        async def ask(name: str) -> None:
            bench.write(name, name)
            asked.append(asyncio.create_task(bench.outcome(name)))
            await others()

        await ask("first")
        await ask("second")
        # There is room for it, and for nobody who waits.
        await ask("third")
        assert models.loads == ["first", "second", "third"]
        models.gate.clear()
        models.full.clear()
        await ask("fourth")
        assert models.loads == ["first", "second", "third", "first"]
        # It is counted, so what others find is what there is beside it.
        models.admitted.add("first")
        models.tell_of_change()
        await others()
        assert models.loads == ["first", "second", "third", "first", "second"]
        models.admitted.add("second")
        models.tell_of_change()
        await others()
        assert models.loads == ["first", "second", "third", "first", "second", "fourth"]
        models.gate.set()
        assert await asyncio.gather(*asked) == ["loaded"] * 4

    run(main)


def test_one_whose_turn_does_not_come_is_told_why(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.models.full = {"first"}
        for name in ("first", "second"):
            bench.write(name, name)
        first = asyncio.create_task(bench.outcome("first"))
        await others()
        bench.models.gate.clear()
        bench.models.full.clear()
        second = asyncio.create_task(bench.outcome("second"))
        await others()
        assert bench.models.loads == ["first", "first"]
        bench.on_demand.unloaded({"second"})
        assert await second == (
            "UnavailableError: is not at ready state: others that were asked for before it wait for room in the memory "
            "budget"
        )
        bench.models.gate.set()
        assert await first == "loaded"

    run(main)


@pytest.mark.parametrize("wait_s", [0.0, 9.9])
def test_room_that_comes_too_late_is_not_waited_for(tmp_path: Path, wait_s: float) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, wait_s)
        bench.write("m", "one")
        bench.models.full = {"m"}
        load = asyncio.create_task(bench.outcome("m"))
        await others()
        assert bench.models.loads == ["m"]
        assert await load == "NoRoomYetError: yet"

    run(main)


def test_the_time_to_wait_for_room_ends(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.full = {"m"}
        load = asyncio.create_task(bench.outcome("m"))
        await others()
        bench.now_s += 61
        bench.models.tell_of_change()
        assert await load == "NoRoomYetError: yet"

    run(main)


@pytest.mark.parametrize("end", ["unloaded", "exit"])
def test_an_unload_or_the_exit_ends_the_wait_for_room(tmp_path: Path, end: str) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        bench.write("m", "one")
        bench.models.full = {"m"}
        load = asyncio.create_task(bench.outcome("m"))
        await others()
        if end == "exit":
            bench.on_demand.exit()
        else:
            bench.on_demand.unloaded({"m", "unknown"})
        assert await load in ("NoRoomYetError: yet", "ExitingError: Server exiting")
        await others()
        assert bench.models.loads == ["m"]

    run(main)


def test_what_waits_for_room_is_not_passed_by_without_end(tmp_path: Path) -> None:
    """After so many have gone in before it, the others wait: for as long as it may take until there is room, and a part of
    the time that requests wait. Then they go in again, twice as many.
    """

    async def main() -> None:
        bench = Bench(tmp_path, wait_s=800)
        for name in ("large", *map(str, range(60))):
            bench.write(name, name)
        bench.models.full = {"large"}
        large = asyncio.create_task(bench.outcome("large"))
        await bench.models.began.wait()
        small = [await bench.outcome(str(number)) for number in range(MOST_BEFORE)]
        assert small == ["loaded"] * MOST_BEFORE
        waiting = asyncio.create_task(bench.outcome("50"))
        await others()
        assert not waiting.done()
        # 10 s until what is there could go, and an eighth of 800.
        bench.now_s += 109
        bench.models.tell_of_change()
        await others()
        assert (waiting.done(), bench.models.loads[-1]) == (False, str(MOST_BEFORE - 1))
        bench.now_s += 1
        bench.models.tell_of_change()
        assert await waiting == "loaded"
        more = [await bench.outcome(str(number)) for number in range(10, 9 + 2 * MOST_BEFORE)]
        assert more == ["loaded"] * len(more)
        last = asyncio.create_task(bench.outcome("51"))
        await others()
        assert not last.done()
        bench.models.full = set()
        bench.models.tell_of_change()
        assert [await large, await last] == ["loaded", "loaded"]
        assert bench.models.loads[-2:] == ["large", "51"]

    run(main)


def test_who_does_not_get_in_has_passed_nobody_by(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, wait_s=800)
        for name in ("large", "m", *map(str, range(2 * MOST_BEFORE))):
            bench.write(name, name)
        bench.models.full = {"large"}
        large = asyncio.create_task(bench.outcome("large"))
        await bench.models.began.wait()
        bench.models.error = InvalidArgumentError("no")
        for number in range(2 * MOST_BEFORE):
            assert await bench.outcome(str(number)) == "UnavailableError: is not at ready state: because"
        bench.models.error = None
        assert await bench.outcome("m") == "loaded"
        bench.on_demand.exit()
        assert await large == "ExitingError: Server exiting"

    run(main)
