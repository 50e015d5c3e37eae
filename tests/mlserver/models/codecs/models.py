from datetime import datetime
from typing import List, Optional, Tuple, Union

import numpy as np
import pandas as pd
from mlserver import MLModel, types
from mlserver.codecs import Base64Codec, DatetimeCodec, PandasCodec, StringCodec, decode_args
from mlserver.codecs.string import StringRequestCodec


def text(value):
    if isinstance(value, pd.DataFrame):
        return f"frame {value.to_dict(orient='list')} {[str(each) for each in value.dtypes]}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {value.tolist()}"
    if isinstance(value, types.TensorData):
        return f"raw {value.root!r}"
    return repr(value)


class Codecs(MLModel):
    """Says what it has decoded, or gives what it is asked for."""

    async def predict(self, payload):
        asked = (payload.parameters.model_dump() or {}).get("ask")
        if asked is not None:
            return await getattr(self, asked)(payload)
        whole = self.decode_request(payload)
        found = [self.decode(each) for each in payload.inputs]
        if whole is not payload:
            found.append(whole)
        return types.InferenceResponse(
            model_name=self.name,
            outputs=[StringCodec.encode_output("found", [text(each) for each in found])],
        )

    async def frame(self, payload):
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None], "d": [{"k": 1}, [2]]})
        return self.encode_response(frame, default_codec=PandasCodec)

    async def texts(self, payload):
        return StringRequestCodec.encode_response(self.name, ["a", "ü"], self.version)

    async def several(self, payload):
        outputs = [
            Base64Codec.encode_output("base64", [b"\x00\xff"]),
            Base64Codec.encode_output("base64_text", [b"\x00\xff"], use_bytes=False),
            DatetimeCodec.encode_output("time", [datetime(2024, 5, 6, 7, 8, 9)]),
            self.encode(np.array(["a", "bc"]), types.RequestOutput(name="array_of_texts")),
            self.encode(np.array([[1.5, np.nan]]), types.RequestOutput(name="not_a_number")),
            self.encode(
                ["a"], types.RequestOutput(name="asked", parameters=types.Parameters(content_type="str"))
            ),
            types.ResponseOutput(name="plain", shape=[2], datatype="INT8", data=[1, 2]),
        ]
        extra = self.settings.parameters.extra
        return types.InferenceResponse(
            model_name=self.name, outputs=outputs, parameters=types.Parameters(**extra)
        )

    async def unencodable(self, payload):
        return self.encode_response(object())

    async def typed(self, payload):
        return await self._typed(payload)

    @decode_args
    async def _typed(
        self, when: List[Union[str, datetime]], data: Optional[List[bytes]] = None, frame: pd.DataFrame = None
    ) -> Tuple[np.ndarray, List[str]]:
        texts = [when[0].isoformat(), str(data), text(frame) if frame is not None else "none"]
        return np.array([1.0]), texts
