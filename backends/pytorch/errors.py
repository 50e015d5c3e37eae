"""What torch's exceptions say, for people."""

import re

from kserve_v2.errors import without_directories


def torch_reason(error: Exception) -> str:
    """The line of a torch error that says what happened; the others are a trace of the model's code."""
    lines = without_directories(str(error)).strip().splitlines() or [type(error).__name__]
    return next((line for line in reversed(lines) if re.match(r"\w*Error: ", line)), lines[0])
