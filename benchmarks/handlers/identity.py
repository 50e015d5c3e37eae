"""A model that does nothing: it answers its input. What a request takes is the server's time alone."""

from typing import Any


class Model:
    """FP32 of any length."""

    inputs = {"INPUT": ("FP32", [-1])}  # noqa: RUF012 - read once, by the server
    outputs = {"OUTPUT": ("FP32", [-1])}  # noqa: RUF012

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One request."""
        return {"OUTPUT": inputs["INPUT"]}
