"""A label of a metric."""


class Dimension:
    """Its name and value."""

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"

    def to_dict(self) -> "dict[str, str]":
        """As JSON has it."""
        return {"Name": self.name, "Value": self.value}
