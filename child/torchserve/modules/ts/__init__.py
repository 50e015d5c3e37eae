"""What handlers of TorchServe's import, written anew: there in the processes of such models only."""

__version__ = "0.12.0"
"""Of the TorchServe whose interfaces these are."""
