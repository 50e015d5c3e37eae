"""Errors that a model raises for its clients: the text is theirs, with the status."""

_BAD_REQUEST = 400
_NOT_FOUND = 404
_UNPROCESSABLE = 422


class MLServerError(Exception):
    """An error that the client of a model is told."""

    def __init__(self, msg: str, status_code: int = _BAD_REQUEST) -> None:
        super().__init__(msg)
        self.status_code = status_code


class InferenceError(MLServerError):
    """A request cannot be answered."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)


class InvalidModelURI(MLServerError):
    """A model's `parameters.uri` leads nowhere."""

    def __init__(self, name: str, model_uri: str | None = None) -> None:
        where = f" ({model_uri})" if model_uri else ""
        super().__init__(f"Invalid URI specified for model {name}{where}", _UNPROCESSABLE)


class ModelNotFound(MLServerError):
    """There is no such model."""

    def __init__(self, name: str, version: str | None = None) -> None:
        which = "" if version is None else f" with version {version}"
        super().__init__(f"Model {name}{which} not found", _NOT_FOUND)


class ModelNotReady(MLServerError):
    """A model does not answer yet."""

    def __init__(self, name: str, version: str | None = None) -> None:
        which = "" if version is None else f" with version {version}"
        super().__init__(f"Model {name}{which} is not ready yet.")


class ModelParametersMissing(MLServerError):
    """The settings of a model lack their parameters."""

    def __init__(self, model_name: str) -> None:
        super().__init__(f"Parameters missing for model {model_name}")
