"""When a model that has failed to load is tried again: at once if its files have changed, else after a growing delay.

Without the first, whoever has repaired a model would wait for nothing; without the second, a model that lacks something
outside of its files, such as memory or a mounted disk, would stay away for good. Trying it at every look, as Triton
does, costs a load each time, and its state never rests.
"""

from dataclasses import dataclass

FIRST_DELAY_S = 5.0
LONGEST_DELAY_S = 300.0


@dataclass(frozen=True, slots=True)
class Failure:
    """`count` loads in a row of files with that fingerprint have failed, the last one at `at_s`."""

    fingerprint: str
    count: int
    at_s: float

    @property
    def due_s(self) -> float:
        """When the same files are tried again."""
        return self.at_s + min(FIRST_DELAY_S * 2.0 ** min(self.count - 1, 30), LONGEST_DELAY_S)

    def is_due(self, fingerprint: str, now_s: float) -> bool:
        """Whether files that are now like that should be tried."""
        return fingerprint != self.fingerprint or now_s >= self.due_s


def failed(before: Failure | None, fingerprint: str, now_s: float) -> Failure:
    """What is known after another failure. `before`: what was known."""
    again = before is not None and before.fingerprint == fingerprint
    return Failure(fingerprint, before.count + 1 if before is not None and again else 1, now_s)
