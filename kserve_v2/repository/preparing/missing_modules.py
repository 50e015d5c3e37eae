"""Models that do not find a module, and have a requirements.txt that nobody has asked the server to act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.environments.models import ModelEnvironments
from kserve_v2.errors import InternalError


@contextmanager
def advising(environments: ModelEnvironments, source: ModelSource, config: ModelConfig) -> Iterator[None]:
    """Say in the error of such a model what would help. Raises what is raised within."""
    try:
        yield
    except InternalError as error:
        advice = environments.advice(source, config) if "ModuleNotFoundError" in error.message else ""
        if not advice:
            raise
        raise InternalError(f"{error.message.rstrip()}; {advice}") from error.__cause__
