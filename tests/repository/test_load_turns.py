"""With a memory budget, loads in the server's process take turns: in which order, and who need not wait for whom."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager

import pytest

from kserve_v2.repository.residency import growth
from kserve_v2.repository.residency.growth import PATIENCE_S, InProcessLoads, LoadWatch


class Process:
    """A process that takes up what a test says. A search for cycles ends when it is `let_go`."""

    def __init__(self) -> None:
        self.size = 1000
        self.imported = 0
        self.searches = 0
        self.let_go = threading.Event()
        self.let_go.set()

    def resident(self) -> int:
        return self.size

    def libraries(self) -> int:
        return self.imported

    def return_freed(self, *, collect: bool) -> None:
        if collect:
            self.searches += 1
            self.let_go.wait()


class Loads:
    """Loads that take and end as a test says."""

    def __init__(self) -> None:
        self.process = Process()
        self.now_s = 100.0
        self.loads = InProcessLoads(1 << 20, self.process, lambda: self.now_s)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def begin(self, name: str, given_up: asyncio.Event | None = None) -> "asyncio.Task[int | None]":
        self._ends[name] = asyncio.Event()
        return asyncio.ensure_future(self._load(name, given_up or asyncio.Event()))

    async def _load(self, name: str, given_up: asyncio.Event) -> int | None:
        async with self.watch(name, given_up) as watch:
            self.begun.append(name)
            await self._ends[name].wait()
        return watch.bytes

    def watch(self, name: str, given_up: asyncio.Event) -> AbstractAsyncContextManager[LoadWatch]:
        return self.loads.watch(name, given_up)

    def end(self, name: str) -> None:
        self._ends[name].set()

    async def until(self, *begun: str) -> None:
        """Until these have begun, and whatever else may begin has."""
        while self.begun[: len(begun)] != list(begun):  # noqa: ASYNC110 - other threads have a part in it
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)


def run(test: Callable[[Loads], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(Loads()), 60)

    asyncio.run(main())


def test_they_come_in_the_order_in_which_they_were_asked_for() -> None:
    async def test(loads: Loads) -> None:
        names = list("abcdef")
        tasks = [loads.begin(name) for name in names]
        for number, name in enumerate(names):
            await loads.until(*names[: number + 1])
            assert loads.begun == names[: number + 1]
            loads.process.size += 10 * (number + 1)
            loads.end(name)
        assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50, 60]

    run(test)


def test_one_that_is_given_up_holds_up_nobody() -> None:
    async def test(loads: Loads) -> None:
        first, given_up = loads.begin("first"), asyncio.Event()
        await loads.until("first")
        unwanted, last = loads.begin("unwanted", given_up), loads.begin("last")
        given_up.set()
        await loads.until("first", "unwanted")
        loads.end("unwanted")
        await unwanted
        assert loads.begun == ["first", "unwanted"]
        loads.end("first")
        await loads.until("first", "unwanted", "last")
        loads.end("last")
        await asyncio.gather(first, last)

    run(test)


def test_one_that_hangs_is_waited_for_no_longer_and_the_others_still_take_turns() -> None:
    async def test(loads: Loads) -> None:
        hangs = loads.begin("hangs")
        await loads.until("hangs")
        loads.now_s += PATIENCE_S
        others = [loads.begin(name) for name in "abc"]
        for number, name in enumerate("abc"):
            begun = ["hangs", *"abc"[: number + 1]]
            await loads.until(*begun)
            assert loads.begun == begun
            loads.process.size += 7
            loads.end(name)
        assert await asyncio.gather(*others) == [7, 7, 7]
        loads.end("hangs")
        # It may all be its own.
        assert await hangs == 21

    run(test)


def test_one_that_waits_for_another_one_steps_aside() -> None:
    async def test(loads: Loads) -> None:
        outer = loads.begin("outer")
        await loads.until("outer")
        loads.process.size += 5
        inner = loads.begin("inner")
        later = loads.begin("later")
        with loads.loads.aside(["outer"]):
            await loads.until("outer", "inner")
            assert loads.begun == ["outer", "inner"]
            loads.process.size += 11
            loads.end("inner")
            assert await inner == 11
            await loads.until("outer", "inner", "later")
        # From here on both may take what comes.
        loads.process.size += 3
        loads.end("later")
        assert await later == 3
        loads.end("outer")
        assert await outer == 5 + 3

    run(test)


def test_one_that_goes_on_is_waited_for_again() -> None:
    async def test(loads: Loads) -> None:
        outer = loads.begin("outer")
        await loads.until("outer")
        with loads.loads.aside(["outer", "nobody"]), loads.loads.aside(["outer"]):
            loads.now_s += PATIENCE_S
        later = loads.begin("later")
        await loads.until("outer")
        assert loads.begun == ["outer"]
        loads.end("outer")
        await loads.until("outer", "later")
        loads.end("later")
        await asyncio.gather(outer, later)

    run(test)


def test_a_finalizer_that_hangs_holds_up_no_load_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_CLOSING_S", 0.0)

    async def test(loads: Loads) -> None:
        loads.process.let_go.clear()
        loads.loads.closing("old", 1 << 20)
        loads.loads.closed("old")
        for name in "ab":
            load = loads.begin(name)
            loads.end(name)
            loads.process.size += 1
            await load
        # There is one search at a time.
        assert loads.process.searches == 1
        loads.process.let_go.set()
        while not (loads.loads._collecting and loads.loads._collecting.done()):  # noqa: ASYNC110 - on its thread
            await asyncio.sleep(0.001)
        monkeypatch.setattr(growth, "_CLOSING_S", 60.0)
        load = loads.begin("c")
        loads.end("c")
        await load
        assert loads.process.searches == 2

    run(test)


def test_what_two_loads_may_have_taken_is_known_to_be_neither_ones_own() -> None:
    async def test(loads: Loads) -> None:
        async with loads.watch("alone", asyncio.Event()) as alone:
            pass
        async with loads.watch("slow", asyncio.Event()) as slow:
            loads.now_s += PATIENCE_S
            async with loads.watch("quick", asyncio.Event()) as quick:
                pass
        assert (alone.own, slow.own, quick.own) == (True, False, False)
        async with loads.watch("outer", asyncio.Event()) as outer:
            with loads.loads.aside(["outer"]):
                async with loads.watch("inner", asyncio.Event()) as inner:
                    pass
            assert (outer.own, inner.own) == (True, True)
            with loads.loads.aside(["outer"]):
                later = loads.begin("later")
                await loads.until("later")
            loads.end("later")
            await later
        assert not outer.own

    run(test)


def test_libraries_are_not_a_models_own() -> None:
    async def test(loads: Loads) -> None:
        async with loads.watch("first", asyncio.Event()) as first:
            loads.process.imported += 1
            loads.process.size += 50
        async with loads.watch("again", asyncio.Event()) as again:
            loads.process.size += 1
        assert (first.bytes, first.own, first.imported) == (50, False, True)
        assert (again.bytes, again.own, again.imported) == (1, True, False)
        async with loads.watch("while it goes", asyncio.Event()) as meanwhile:
            loads.loads.closing("first", 50, whole=False)
            loads.loads.closed("first")
        assert (meanwhile.bytes, meanwhile.own) == (50, False)

    run(test)
