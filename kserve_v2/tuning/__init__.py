"""Finding the configuration that suits a model, by measuring: `kserve-v2 analyze`."""
