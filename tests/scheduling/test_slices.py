"""Work in slices: whose turn it is, and what comes of it."""

import asyncio
from collections.abc import Iterable

import pytest

from kserve_v2.scheduling.slices import Slicer, Slices, at_once, mapped


def work(name: str, slices: int, log: list[str]) -> Slices[str]:
    for number in range(slices):
        log.append(f"{name}{number}")
        yield
    return name


def failing() -> Slices[str]:
    yield
    raise ValueError("no")


def broken() -> Slices[str]:
    raise ValueError("no")
    yield


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_one_slice_a_turn_however_many_works_there_are() -> None:
    async def main() -> None:
        slicer, log, ends = Slicer(), list[str](), list[object]()
        for name in "ab":
            slicer.begin(work(name, 2, log), ends.append)
        assert log == []
        seen = []
        while len(ends) < 2:
            await turns(1)
            seen.append(len(log))
        assert log == ["a0", "b0", "a1", "b1"]
        assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == 1
        assert ends == ["a", "b"]
        # And once more, when there was nothing to do.
        assert await slicer.finish(work("c", 1, log)) == "c"

    asyncio.run(main())


def test_what_is_begun_now_may_be_over_at_once() -> None:
    async def main() -> None:
        slicer, log, ends = Slicer(), list[str](), list[object]()
        assert slicer.begin_now(work("a", 0, log), ends.append) is None
        assert ends == ["a"]
        assert slicer.begin_now(broken(), ends.append) is None
        assert [str(each) for each in ends] == ["a", "no"]
        begun = slicer.begin_now(work("b", 2, log), ends.append)
        assert begun is not None
        assert (log, len(ends)) == (["b0"], 2)
        await slicer.idle()
        assert (log, ends[2]) == (["b0", "b1"], "b")

    asyncio.run(main())


def test_what_nobody_wants_is_not_gone_on_with() -> None:
    async def main() -> None:
        slicer, log, ends = Slicer(), list[str](), list[object]()
        given_up = slicer.begin(work("a", 100, log), ends.append)
        slicer.begin(work("b", 3, log), ends.append)
        await turns(2)
        given_up.give_up()
        while not ends:
            await turns(1)
        await turns(5)
        assert ends == ["b"]
        assert len([each for each in log if each.startswith("a")]) <= 2

    asyncio.run(main())


def test_an_error_is_the_outcome_of_its_work_alone() -> None:
    async def main() -> None:
        slicer, log, ends = Slicer(), list[str](), list[object]()
        slicer.begin(failing(), ends.append)
        with pytest.raises(ValueError, match="no"):
            await slicer.finish(failing())
        assert await slicer.finish(work("a", 3, log)) == "a"
        assert [str(each) for each in ends] == ["no"]

    asyncio.run(main())


def test_an_end_that_raises_does_not_keep_others_waiting() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        slicer, log = Slicer(), list[str]()

        def end(_: object) -> None:
            raise RuntimeError

        slicer.begin(work("a", 1, log), end)
        assert await slicer.finish(work("b", 2, log)) == "b"

    asyncio.run(main())


def test_a_task_that_is_cancelled_gives_up() -> None:
    async def main() -> None:
        slicer, log = Slicer(), list[str]()
        task = asyncio.create_task(slicer.finish(work("a", 1000, log)))
        await turns(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        before = len(log)
        await turns(5)
        assert len(log) == before

    asyncio.run(main())


def test_idle_is_when_all_has_its_end() -> None:
    async def main() -> None:
        slicer, log = Slicer(), list[str]()
        await slicer.idle()

        def go_on(_: object) -> None:
            slicer.begin(work("b", 2, log), log.append)

        slicer.begin(work("a", 3, log), go_on)
        await slicer.idle()
        assert log == ["a0", "a1", "a2", "b0", "b1", "b"]

    asyncio.run(main())


@pytest.mark.parametrize("count", [0, 1, 5])
def test_at_once(count: int) -> None:
    log: list[str] = []
    assert at_once(work("a", count, log)) == "a"
    expected: Iterable[str] = (f"a{number}" for number in range(count))
    assert log == [*expected]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_all_items_are_made_in_their_order(count: int) -> None:
    assert at_once(mapped(str, range(count))) == list(map(str, range(count)))
    assert len(list(mapped(str, range(count)))) == count // 64
