"""Models of XGBoost, in its own formats: `predict` and `predict_proba` are outputs."""

import xgboost
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.errors import InferenceError
from mlserver.model import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, RequestOutput
from mlserver.utils import get_model_uri

WELLKNOWN_MODEL_FILENAMES = ["model.bst", "model.json", "model.ubj"]
PREDICT_OUTPUT = "predict"
PREDICT_PROBA_OUTPUT = "predict_proba"
VALID_OUTPUTS = [PREDICT_OUTPUT, PREDICT_PROBA_OUTPUT]


def _load(path: str) -> xgboost.XGBModel:
    """A regressor, unless the file says that it is a classifier."""
    try:
        model = xgboost.XGBRegressor()
        model.load_model(path)
    except TypeError:
        model = xgboost.XGBClassifier()
        model.load_model(path)
    return model


class XGBoostModel(MLModel):
    """A regressor or classifier."""

    async def load(self) -> bool:
        """Read the file."""
        self._model = _load(await get_model_uri(self._settings, WELLKNOWN_MODEL_FILENAMES))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The outputs that are asked for; `predict` by default."""
        payload.outputs = payload.outputs or [RequestOutput(name=PREDICT_OUTPUT)]
        for each in payload.outputs:
            if each.name not in VALID_OUTPUTS:
                raise InferenceError(
                    f"XGBoostModel only supports '{PREDICT_OUTPUT}' and '{PREDICT_PROBA_OUTPUT}' as outputs "
                    f"({each.name} was received)"
                )
            if each.name == PREDICT_PROBA_OUTPUT and isinstance(self._model, xgboost.XGBRegressor):
                raise InferenceError(f"XGBRegressor models do not support '{PREDICT_PROBA_OUTPUT}")
        given = self.decode_request(payload, default_codec=NumpyRequestCodec)
        outputs = [
            self.encode(getattr(self._model, each.name)(given), each, default_codec=NumpyCodec)
            for each in payload.outputs
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
