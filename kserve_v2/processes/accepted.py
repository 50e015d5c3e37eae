"""Requests that a worker has read before the server was told to end, and that the home answers. They are answered as if
the home had read them itself: it hears which they are, and a worker has finished only when they are over.
"""

from kserve_v2.scheduling.under_way import UnderWay


class Accepted(UnderWay):
    """Those of one worker that are under way. `open`: what is forwarded now is one of them."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        super().__init__()
        self.open = True
