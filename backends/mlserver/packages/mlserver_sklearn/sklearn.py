"""Models of scikit-learn, as joblib has written them: `predict`, `predict_proba` and `transform` are outputs."""

from typing import Any

from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.codecs.base import find_request_codec
from mlserver.errors import InferenceError
from mlserver.model import MLModel
from mlserver.pickles import load
from mlserver.types import InferenceRequest, InferenceResponse, RequestOutput, ResponseOutput
from mlserver.utils import get_model_uri

WELLKNOWN_MODEL_FILENAMES = ["model.joblib", "model.pickle", "model.pkl"]
PREDICT_OUTPUT = "predict"
PREDICT_PROBA_OUTPUT = "predict_proba"
PREDICT_TRANSFORM = "transform"
VALID_OUTPUTS = [PREDICT_OUTPUT, PREDICT_PROBA_OUTPUT, PREDICT_TRANSFORM]
PREDICT_FN_KEY = "predict_fn"


class SKLearnModel(MLModel):
    """A model, or a pipeline."""

    reads_pickles = True

    async def load(self) -> bool:
        """Read the file."""
        self._model = load(await get_model_uri(self._settings, WELLKNOWN_MODEL_FILENAMES))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The outputs that are asked for; `predict` by default, or what `parameters.extra.predict_fn` names."""
        wanted = self._wanted(payload)
        given = self.decode_request(payload, default_codec=NumpyRequestCodec)
        outputs = []
        for each in wanted:
            result = getattr(self._model, each.name)(given)
            columns = self._columns(result, each, wanted)
            if columns is not None:
                outputs = columns
                break
            outputs.append(self.encode(result, each, default_codec=NumpyCodec))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)

    def _wanted(self, payload: InferenceRequest) -> list[RequestOutput]:
        if payload.outputs:
            for each in payload.outputs:
                if each.name not in VALID_OUTPUTS:
                    raise InferenceError(
                        f"SKLearnModel only supports '{PREDICT_OUTPUT}', '{PREDICT_PROBA_OUTPUT}' and "
                        f"'{PREDICT_TRANSFORM}' as outputs ({each.name} was received)"
                    )
        else:
            extra = (self.settings.parameters and self.settings.parameters.extra) or {}
            payload.outputs = [RequestOutput(name=extra.get(PREDICT_FN_KEY, PREDICT_OUTPUT))]
        if any(each.name == PREDICT_PROBA_OUTPUT for each in payload.outputs):
            steps = getattr(self._model, "steps", None)
            last = steps[-1][-1] if steps else self._model
            if not hasattr(last, PREDICT_PROBA_OUTPUT):
                raise InferenceError(f"{type(last)} models do not support '{PREDICT_PROBA_OUTPUT}")
        return payload.outputs

    def _columns(
        self, result: Any, output: RequestOutput, wanted: list[RequestOutput]
    ) -> list[ResponseOutput] | None:
        """A data frame as outputs, one for each column; None for anything else."""
        codec: Any = find_request_codec("pd")
        if codec is None or not codec.can_encode(result):
            return None
        if len(wanted) > 1:
            raise InferenceError(
                f"{output.name} returned columnar data of type {type(result)} and {[each.name for each in wanted]} "
                "were requested. Cannot encode multiple columnar data responses into one response."
            )
        encoded: list[ResponseOutput] = codec.encode_outputs(result)
        return encoded
