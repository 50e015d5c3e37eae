"""Estimators of scikit-learn, and of others who follow its conventions, as handlers. Nothing of it is imported."""

import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_v2.backend import Described, LiveModel
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers.live import ONE_INSTANCE
from kserve_v2.tensors.datatypes import BY_DTYPE

logger = logging.getLogger(__name__)

_MAX_BATCH_SIZE = 1024
# Rows that are made up, of numbers as large as these.
_TRIED_ROWS, _TRIED_SCALES = 3, (1.0, 100.0)
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
            f"{type(thing).__name__} does not say how many features it takes (n_features_in_): fit it first; or, if it "
            "takes texts or other things than rows of numbers, serve a function that calls it"
        )
    return LiveModel(_Estimator(thing, int(features), described.max_batch_size), config=ONE_INSTANCE)


class _Estimator:
    """An estimator as a handler: of a classifier the label and the probabilities of all classes, of any other one its
    prediction.
    """

    def __init__(self, estimator: Any, features: int, max_batch_size: int | None) -> None:
        """`max_batch_size`: None if nothing was said; then requests are merged unless that changes their answers."""
        self._estimator = estimator
        self._columns = getattr(estimator, "feature_names_in_", None)
        classes = getattr(estimator, "classes_", None)
        self._classifies = classes is not None and not isinstance(classes, list)
        self._has_probabilities = self._classifies and hasattr(estimator, "predict_proba")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = self._answer(np.zeros((1, features)))
            if max_batch_size is None:
                max_batch_size = 0 if self._rows_depend(features) else _MAX_BATCH_SIZE
        self.max_batch_size = max_batch_size
        self.inputs = {INPUT: ("FP64", [features] if max_batch_size else [-1, features])}
        self.outputs = {name: self._declared(name, value) for name, value in answer.items()}

    def _rows_depend(self, features: int) -> bool:
        """Whether rows change each other's answers, as those of a pipeline do that scales what it is given by its own
        mean.
        """
        random = np.random.default_rng(0)
        for scale in _TRIED_SCALES:
            rows = random.standard_normal((_TRIED_ROWS, features)) * scale
            try:
                together = self._answer(rows)
                alone = [self._answer(rows[n : n + 1]) for n in range(_TRIED_ROWS)]
            except Exception:  # noqa: BLE001, S112 - made-up rows may be out of range
                continue
            for name, array in together.items():
                if not _same(np.concatenate([each[name] for each in alone]), array):
                    logger.warning(
                        "%s: requests are not merged: '%s' of several rows together is not that of each alone; give "
                        "max_batch_size if they may be", type(self._estimator).__name__, name,
                    )  # fmt: skip
                    return True
        return False

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


def _same(one: Any, other: Any) -> bool:
    """Whether two arrays are equal; floats, but for rounding."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    largest = float(np.max(np.abs(other), initial=0, where=np.isfinite(other)))
    return np.allclose(one, other, rtol=1e-4, atol=1e-5 * largest, equal_nan=True)
