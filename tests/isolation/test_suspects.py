"""Which requests are not executed any more."""

import pytest

from kserve_v2.errors import InternalError
from kserve_v2.isolation.suspects import Suspects
from kserve_v2.messages import InferRequest


def request(name: str) -> InferRequest:
    return InferRequest("m", {}, id=name)


def test_three_deaths_of_one_request_alone_are_enough() -> None:
    suspects = Suspects()
    for _ in range(2):
        suspects.died([request("a")])
        suspects.check([request("a")])
    suspects.died([request("a")])
    suspects.check([request("b")])
    with pytest.raises(InternalError, match="request 'a' is not executed again"):
        suspects.check([request("b"), request("a")])


def test_of_several_and_of_those_without_a_name_nobody_is_suspected() -> None:
    suspects = Suspects()
    for _ in range(5):
        suspects.died([request("a"), request("b")])
        suspects.died([request("")])
    suspects.check([request("a"), request("b"), request("")])


def test_the_names_of_the_latest_deaths_are_remembered() -> None:
    suspects = Suspects()
    for _ in range(3):
        suspects.died([request("old")])
    for number in range(999):
        suspects.died([request(str(number))])
    with pytest.raises(InternalError):
        suspects.check([request("old")])
    suspects.died([request("one too many")])
    suspects.check([request("old")])
