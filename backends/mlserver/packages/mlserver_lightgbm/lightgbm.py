"""Models of LightGBM, in its own format: `predict` is the output."""

import lightgbm
import numpy as np
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.model import MLModel
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri

WELLKNOWN_MODEL_FILENAMES = ["model.bst"]


class LightGBMModel(MLModel):
    """A booster."""

    async def load(self) -> bool:
        """Read the file."""
        path = await get_model_uri(self._settings, WELLKNOWN_MODEL_FILENAMES)
        self._model = lightgbm.Booster(model_file=path)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """What the booster predicts."""
        given = self.decode_request(payload, default_codec=NumpyRequestCodec)
        output = NumpyCodec.encode_output("predict", np.asarray(self._model.predict(given)))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
