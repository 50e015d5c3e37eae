"""What models may put into the parameters of a response: what both protocols can carry."""

import enum
from typing import Any

import numpy as np
import pytest

from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.executing.response_parameters import take_response_parameters


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class LyingText(str):
    def __str__(self) -> str:
        raise ValueError("no text")

    def encode(self, *_: object) -> bytes:
        raise ValueError("no bytes")


def taken(parameters: Any) -> dict[str, Any]:
    request = InferRequest("m", {}, response_parameters=parameters)
    take_response_parameters(request, "m")
    return request.response_parameters


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (True, True),
        (0, 0),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (0.25, 0.25),
        (float("inf"), float("inf")),
        ("", ""),
        ("ŝ", "ŝ"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (np.bool_(True), True),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.str_("x"), "x"),
    ],
)
def test_what_both_protocols_can_carry(value: object, carried: object) -> None:
    (got,) = taken({"p": value}).values()
    assert (got, type(got)) == (carried, type(carried))


def test_a_string_is_what_it_holds_and_not_what_it_says() -> None:
    ((name, value),) = taken({LyingText("p"): LyingText("x")}).items()
    assert (name, type(name), value, type(value)) == ("p", str, "x", str)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"p": None}, "response parameter 'p' of model 'm' is None, expected bool, int, float or str"),
        ({"p": b"x"}, "response parameter 'p' of model 'm' is bytes, expected bool, int, float or str"),
        ({"p": [1]}, "response parameter 'p' of model 'm' is list, expected"),
        ({"p": {}}, "response parameter 'p' of model 'm' is dict, expected"),
        ({"p": np.zeros(1)}, "response parameter 'p' of model 'm' is ndarray, expected"),
        ({"p": np.complex64(1)}, "response parameter 'p' of model 'm' is complex64, expected"),
        ({"p": 2**64}, "response parameter 'p' of model 'm' is an integer of more than 64 bits"),
        ({"p": -(2**63) - 1}, "response parameter 'p' of model 'm' is an integer of more than 64 bits"),
        ({"p": "\ud800"}, "response parameter 'p' of model 'm' has no form in UTF-8"),
        ({"\ud800": 1}, "the name of a response parameter of model 'm' has no form in UTF-8"),
        ({3: 1}, "model 'm' named a response parameter by int, expected str"),
        (["p"], "model 'm' set response_parameters to list, expected a dict"),
    ],
)
def test_anything_else_is_an_error_that_names_it(parameters: object, text: str) -> None:
    with pytest.raises(InternalError) as error:
        taken(parameters)
    assert error.value.message.startswith(text)
