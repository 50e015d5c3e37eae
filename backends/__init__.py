"""The backends that come with the server, installed as `kserve_v2_backends`; each is a plug-in like any
other's.
"""

import os

# ONNX Runtime's wheels (from 1.29 on) make an identifier of the machine, keep events in the user's cache directory and
# send them to their vendor, from the moment that they are imported, unless this is set. Here, because a handler may
# import it without the backend.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
