import numpy as np
from mlserver import MLModel, log, register, types
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.handlers import custom_handler


class Echo(MLModel):
    async def load(self):
        register("rows", "rows seen")
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        first = payload.inputs[0]
        if first.name == "bad":
            raise InferenceError("no bad inputs")
        if first.name == "boom":
            raise ValueError("oops")
        decoded = self.decode(first, default_codec=NumpyCodec)
        log(rows=len(decoded))
        return types.InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output("doubled", np.asarray(decoded) * 2)],
            parameters=types.Parameters(headers={"x-own": payload.parameters.headers.get("x-mine", "none")}),
        )

    @custom_handler(rest_path="/hello/{who}", rest_method="GET")
    async def hello(self, who: str, times: int = 1) -> dict:
        return {"hello": [who] * times, "ready": self.ready}
