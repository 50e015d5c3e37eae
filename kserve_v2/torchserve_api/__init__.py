"""TorchServe's own APIs on its ports, and its configuration: what its clients and operators bring."""
