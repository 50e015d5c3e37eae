"""Of the TorchServe whose interfaces these are."""

from ts import __version__

__all__ = ["__version__"]
