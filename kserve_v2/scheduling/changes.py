"""How often the models that answer have changed: what depends on other models may have to be done again."""


class Changes:
    """A count of the times when another version of some model has begun to answer, or one has stopped."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0
