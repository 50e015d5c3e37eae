"""Models that do not find a module: perhaps it is in a requirements.txt that nobody has asked the server to act on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.environments.models import ModelEnvironments
from kserve_v2.errors import InternalError

# With nothing behind it: somebody else may have said already what would help.
_MISSING = re.compile(r"ModuleNotFoundError: No module named '[^']+'\s*$")


@contextmanager
def advising(environments: ModelEnvironments, source: ModelSource, config: ModelConfig) -> Iterator[None]:
    """Say in the error of such a model what would help. Raises what is raised within."""
    try:
        yield
    except InternalError as error:
        advice = environments.advice(source, config) if _MISSING.search(error.message) else ""
        if not advice:
            raise
        raise InternalError(f"{error.message.rstrip()}; {advice}") from error.__cause__
