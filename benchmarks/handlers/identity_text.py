"""A model that does nothing: it answers its input. What a request takes is the server's time alone."""

from typing import Any


class Model:
    """Strings, any number of them."""

    inputs = {"INPUT": ("BYTES", [-1])}  # noqa: RUF012 - read once, by the server
    outputs = {"OUTPUT": ("BYTES", [-1])}  # noqa: RUF012

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One request."""
        return {"OUTPUT": inputs["INPUT"]}
