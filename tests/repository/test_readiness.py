"""How models are asked whether they are ready."""

import asyncio
import threading

from kserve_v2.repository.models.readiness import Readiness, says_readiness


class Model:
    reports_readiness = True

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()

    def is_ready(self) -> bool:
        self.asked += 1
        self.go_on.wait()
        return True


def test_many_who_ask_at_once_are_one() -> None:
    async def ask() -> list[bool]:
        both = [asyncio.create_task(readiness.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        model.go_on.set()
        return await asyncio.gather(*both)

    model = Model()
    readiness = Readiness(model, "m")
    assert asyncio.run(ask()) == [True, True]
    assert model.asked == 1


def test_one_who_does_not_say_it_is_not_ready() -> None:
    async def ask() -> bool:
        return await readiness.ask()

    model = Model()
    readiness = Readiness(model, "m", patience_s=0)
    try:
        assert asyncio.run(ask()) is False
    finally:
        model.go_on.set()


def test_most_models_say_nothing() -> None:
    model = Model()
    assert says_readiness(model)
    model.reports_readiness = False  # type: ignore[misc]
    assert not says_readiness(model)
    assert not says_readiness(object())
