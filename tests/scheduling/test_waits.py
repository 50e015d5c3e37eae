"""Which calls are refused, because models could come to wait for each other for ever."""

import pytest

from kserve_v2.errors import UnavailableError
from kserve_v2.messages import CallingModel
from kserve_v2.scheduling.calling.waits import ModelVersion, Waits


class Many:
    """Calls among models that are named by letters."""

    def __init__(self, **places: int) -> None:
        self.waits = Waits()
        self.places = places

    def begin(self, caller: str, execution: int, callee: str) -> bool:
        """False: it is refused."""
        try:
            self.waits.begin(
                CallingModel(caller, 1, execution), ModelVersion(callee, 1), self.places.get(callee, 1)
            )
        except UnavailableError:
            return False
        return True

    def end(self, caller: str, execution: int, callee: str) -> None:
        self.waits.end(CallingModel(caller, 1, execution), ModelVersion(callee, 1))


def test_the_last_call_of_a_circle_is_refused() -> None:
    many = Many()
    assert many.begin("a", 1, "b")
    assert many.begin("b", 2, "c")
    assert not many.begin("c", 3, "a")
    many.end("b", 2, "c")
    assert many.begin("c", 3, "a")


def test_calls_in_one_direction_never_are() -> None:
    many = Many()
    assert all(many.begin("a", number, "b") for number in range(20))
    assert all(many.begin("b", number, "c") for number in range(20))
    assert many.begin("a", 30, "c")


def test_a_model_with_a_free_place_goes_on() -> None:
    many = Many(a=2)
    assert many.begin("a", 1, "b")
    assert many.begin("b", 2, "a"), "the second place of a answers it"
    assert not many.begin("a", 3, "b"), "now both would wait"
    many.end("b", 2, "a")
    assert many.begin("a", 3, "b")
    assert not many.begin("b", 4, "a")


def test_several_calls_of_one_execution_keep_one_place() -> None:
    many = Many(a=2)
    assert many.begin("b", 9, "a")
    assert many.begin("a", 1, "b")
    assert many.begin("a", 1, "b")
    assert not many.begin("a", 2, "b")


def test_what_is_over_is_forgotten() -> None:
    many = Many()
    for number in range(3):
        many.begin("a", number, "b")
    assert not many.begin("b", 9, "a")
    for number in range(3):
        many.end("a", number, "b")
    assert repr(many.waits) == "<Waits {}>"
    with pytest.raises(KeyError):
        many.end("b", 9, "a")
