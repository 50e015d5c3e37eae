"""Message classes of the wire protocols, generated from `protos/` by `python tools/generate_protos.py`."""
