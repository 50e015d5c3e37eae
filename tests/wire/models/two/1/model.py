"""Sum and difference."""


class Model:
    def __call__(self, inputs):
        return {"X": inputs["A"] + inputs["B"], "Y": inputs["A"] - inputs["B"]}
