"""TorchServe's archives, its requests, and its own APIs."""
