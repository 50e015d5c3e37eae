"""Estimators of scikit-learn, and of others who follow its conventions, as handlers. Nothing of it is imported."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_v2.backend import Described, LiveModel
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_DTYPE

_MAX_BATCH_SIZE = 1024
_ONE_INSTANCE = "instance_group { count: 1 kind: KIND_CPU }\n"
INPUT = "x"


def wrap(thing: object, described: Described) -> LiveModel | None:
    """See `WrapsObjects.wrap`."""
    if isinstance(thing, type) or not all(
        callable(getattr(thing, name, None)) for name in ("predict", "fit", "get_params")
    ):
        return None
    features = getattr(thing, "n_features_in_", None)
    if not isinstance(features, int | np.integer):
        raise InvalidArgumentError(
            f"{type(thing).__name__} does not say how many features it takes (n_features_in_): fit it first"
        )
    size = _MAX_BATCH_SIZE if described.max_batch_size is None else described.max_batch_size
    return LiveModel(_Estimator(thing, int(features), size), config=_ONE_INSTANCE)


class _Estimator:
    """An estimator as a handler: of a classifier the label and the probabilities of all classes, of any other one its
    prediction.
    """

    def __init__(self, estimator: Any, features: int, max_batch_size: int) -> None:
        self._estimator = estimator
        self._columns = getattr(estimator, "feature_names_in_", None)
        self.max_batch_size = max_batch_size
        self.inputs = {INPUT: ("FP64", [features] if max_batch_size else [-1, features])}
        classes = getattr(estimator, "classes_", None)
        self._classifies = classes is not None and not isinstance(classes, list)
        self._has_probabilities = self._classifies and hasattr(estimator, "predict_proba")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = self._answer(np.zeros((1, features)))
        self.outputs = {name: self._declared(name, value) for name, value in answer.items()}

    def _declared(self, name: str, value: Any) -> tuple[str, list[int]]:
        datatype = BY_DTYPE.get(value.dtype)
        if datatype is None:
            raise InvalidArgumentError(
                f"'{name}' of {type(self._estimator).__name__} is {value.dtype}, for which there is no datatype"
            )
        dims = list(value.shape[1:])
        return datatype.name, dims if self.max_batch_size else [-1, *dims]

    def _answer(self, x: Any) -> dict[str, Any]:
        if self._columns is not None and (pandas := sys.modules.get("pandas")) is not None:
            # It was fitted with names, and looks whether they are the same.
            x = pandas.DataFrame(x, columns=self._columns)
        predicted = _rows(self._estimator.predict(x))
        if not self._classifies:
            return {"prediction": predicted}
        if not self._has_probabilities:
            return {"label": predicted}
        return {"label": predicted, "probabilities": _rows(self._estimator.predict_proba(x))}

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._answer(inputs[INPUT])


def _rows(values: Any) -> Any:
    """An array with two dimensions or more, of texts as BYTES have them."""
    array = np.asarray(values)
    if array.dtype.kind in "US" or array.dtype == object:
        array = np.array([str(each).encode() for each in array.ravel().tolist()], object).reshape(array.shape)
    return array[:, np.newaxis] if array.ndim == 1 else array
