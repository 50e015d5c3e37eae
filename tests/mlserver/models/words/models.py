from mlserver import MLModel, types
from mlserver.codecs import StringCodec


class Words(MLModel):
    async def predict(self, payload):
        return self._answer("all")

    async def predict_stream(self, payloads):
        async for payload in payloads:
            for word in StringCodec.decode_input(payload.inputs[0])[0].split():
                if word == "fail":
                    raise ValueError("this word is too much")
                yield self._answer(word)

    def _answer(self, word):
        return types.InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("output", [word])]
        )
