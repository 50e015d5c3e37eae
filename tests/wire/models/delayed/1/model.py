"""As `gated`; OUT is how many have been executed before."""

import socket

import numpy as np


class Model:
    def __init__(self):
        self.executed = 0

    def __call__(self, inputs):
        port = inputs["PORT"].item()
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
            self.executed = 0
        before = np.array([[self.executed]], np.int32)
        self.executed += 1
        return {"OUT": before}
