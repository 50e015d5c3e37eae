"""What models import that were written for MLServer. It is found by their own processes alone, and is no server."""

from .metrics import log, register
from .model import MLModel
from .settings import ModelSettings, Settings
from .version import __version__

__all__ = ["MLModel", "ModelSettings", "Settings", "__version__", "log", "register"]
