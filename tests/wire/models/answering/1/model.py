"""Answers with a parameter of each type."""


class Model:
    def __call__(self, inputs, requests):
        [request] = requests
        request.response_parameters.update({"text": "x", "count": 3, "flag": True})
        return {"OUT": inputs["IN"]}
