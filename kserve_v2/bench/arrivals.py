"""When requests of an open loop are sent: at their times, whether or not the answers keep up."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import count
from random import Random


class Arrivals(StrEnum):
    """How the times between requests vary."""

    POISSON = "poisson"
    CONSTANT = "constant"


def times(arrivals: Arrivals, per_second: float, seed: int) -> Iterator[float]:
    """Seconds from the start to each request, without end. The same seed gives the same times.

    Poisson: independent clients; the time to the next request is exponentially distributed, however long ago the last
    one was. Constant: one every 1/rate seconds, the first at once; nobody's clients are like that, but two runs are
    alike.
    """
    if arrivals is Arrivals.CONSTANT:
        # Multiplied, not added up: the errors of a million additions would shift the rate.
        yield from (number / per_second for number in count())
    random = Random(seed)  # noqa: S311 - of measurements, not of secrets
    time = 0.0
    while True:
        time += random.expovariate(per_second)
        yield time
