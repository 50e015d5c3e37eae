"""Cannot be loaded."""


class Model:
    def load(self, context):
        raise ValueError("init boom")

    def __call__(self, inputs):
        return {"OUT": inputs["IN"]}
