"""Sum and difference, as a handler."""

from typing import Any


class Model:
    """INT32 of 16 numbers."""

    inputs = {"INPUT0": ("INT32", [16]), "INPUT1": ("INT32", [16])}  # noqa: RUF012 - read once, by the server
    outputs = {"OUTPUT0": ("INT32", [16]), "OUTPUT1": ("INT32", [16])}  # noqa: RUF012

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One request, or batch."""
        first, second = inputs["INPUT0"], inputs["INPUT1"]
        return {"OUTPUT0": first + second, "OUTPUT1": first - second}
