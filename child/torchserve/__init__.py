"""TorchServe's archives and handlers, served in processes of their own."""
