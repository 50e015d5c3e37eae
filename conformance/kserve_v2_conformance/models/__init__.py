"""The models that the suite needs, and writers for the servers that load them."""
