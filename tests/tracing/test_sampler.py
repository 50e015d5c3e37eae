"""Which requests are traced: every rate-th, until the count is used up."""

import pytest

from kserve_v2.tracing.sampler import Sampler
from kserve_v2.tracing.settings import TraceSettings

ON = ("TIMESTAMPS",)


@pytest.mark.parametrize(
    ("settings", "chosen", "remaining"),
    [
        (TraceSettings((), 1, -1), [], -1),
        (TraceSettings(ON, 1, -1), [1, 2, 3, 4, 5, 6, 7], -1),
        (TraceSettings(ON, 3, -1), [3, 6], -1),
        (TraceSettings(ON, 8, -1), [], -1),
        (TraceSettings(ON, 1, 2), [1, 2], 0),
        (TraceSettings(ON, 2, 2), [2, 4], 0),
        (TraceSettings(ON, 2, 5), [2, 4, 6], 2),
        (TraceSettings(ON, 1, 0), [], 0),
        # Only requests that ask for it, which is not the sampler's business.
        (TraceSettings(ON, 0, -1), [], -1),
    ],
)
def test_seven_requests(settings: TraceSettings, chosen: list[int], remaining: int) -> None:
    sampler = Sampler(settings)
    assert [number for number in range(1, 8) if sampler.choose()] == chosen
    assert sampler.remaining == remaining
    # Who asks first whether a request is passed over has the same ones chosen.
    sampler = Sampler(settings)
    assert [number for number in range(1, 8) if not sampler.passes_over() and sampler.choose()] == chosen
    assert sampler.remaining == remaining


def test_a_request_that_is_not_passed_over_is_still_to_be_chosen() -> None:
    sampler = Sampler(TraceSettings(ON, 3, -1))
    assert [sampler.passes_over() for _ in range(5)] == [True, True, False, False, False]
    assert [sampler.choose(), sampler.passes_over()] == [True, True]


def test_what_is_left_of_a_count() -> None:
    sampler = Sampler(TraceSettings(ON, 1, 5), remaining=1)
    assert [sampler.choose(), sampler.choose()] == [True, False]
