"""Tells what it knows of its request."""

import json


class Model:
    def __call__(self, inputs, requests):
        [request] = requests
        parameters = json.dumps(dict(request.parameters), sort_keys=True)
        return {"ID": [request.id], "PARAMETERS": [parameters]}
