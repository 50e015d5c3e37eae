"""How long Python's collector of cycles has stopped all threads of a process."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from kserve_v2.metrics.text import Family, Labels

_BOUNDS_S = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

Pauses = Sequence[Sequence[float]]
"""By generation: how many were up to each bound, but not up to the one before, and longer than all; then the seconds
of all together."""


class GcPauses:
    """Measures those of this process while it is started."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock`: in seconds."""
        self._clock = clock
        self._began_s: float | None = None
        self._pauses = [[0.0] * (len(_BOUNDS_S) + 2) for _ in gc.get_threshold()]

    def start(self) -> None:
        """Measure from now on."""
        gc.callbacks.append(self.note)

    def stop(self) -> None:
        """Measure no longer."""
        if self.note in gc.callbacks:
            gc.callbacks.remove(self.note)

    def note(self, phase: str, info: Mapping[str, int]) -> None:
        """See `gc.callbacks`. There is never a collection within another."""
        if phase == "start":
            self._began_s = self._clock()
        elif self._began_s is not None:
            took_s = self._clock() - self._began_s
            pauses = self._pauses[info["generation"]]
            pauses[sum(took_s > bound_s for bound_s in _BOUNDS_S)] += 1
            pauses[-1] += took_s

    def figures(self) -> Pauses:
        """What there was so far."""
        return [[*pauses] for pauses in self._pauses]


def added(past: Pauses, now: Pauses) -> Pauses:
    """Those of two processes together; one may have none yet."""
    if not past or not now:
        return past or now
    return [[a + b for a, b in zip(*both, strict=True)] for both in zip(past, now, strict=True)]


def pause_family(processes: Iterable[tuple[Labels, Pauses]]) -> Family:
    """Of all processes of a server, with the labels of each."""
    family = Family(
        "kserve_v2_gc_pause_seconds",
        "histogram",
        "How long Python's garbage collector stopped all threads of the process, by generation",
    )
    for labels, pauses in processes:
        for generation, figures in enumerate(pauses):
            for suffix, more, value in _samples(figures):
                family.add({**labels, "generation": str(generation), **more}, value, suffix)
    return family


def _samples(figures: Sequence[float]) -> Iterator[tuple[str, Labels, float]]:
    *counts, total = accumulate(map(int, figures[:-1]))
    for bound_s, count in zip(_BOUNDS_S, counts, strict=True):
        yield "_bucket", {"le": f"{bound_s:g}"}, count
    yield "_bucket", {"le": "+Inf"}, total
    yield "_sum", {}, figures[-1]
    yield "_count", {}, total
