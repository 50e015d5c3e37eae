"""Connects to PORT, if it is not 0, and goes on when it is told to."""

import socket


class Model:
    def __call__(self, inputs):
        port = inputs["PORT"].item()
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
        return {"OUT": inputs["PORT"]}
