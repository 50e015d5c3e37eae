"""Message classes of the protocol, generated from the repository's `protos/` by `python tools/generate_protos.py`."""
