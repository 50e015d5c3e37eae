"""TorchServe's archives and handlers."""
