"""The `mlserver` backend: models of MLServer's, each in processes of its own, which find our `mlserver` package."""

import importlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.verbatim import ROUTES, TENSOR_PARAMETERS

from ..gpus import visible_gpus
from ..parameters import boolean, parameter_texts

if TYPE_CHECKING:
    from .hosting.model import LoadedMLModel

logger = logging.getLogger(__name__)

ROOT = "mlserver_root"
"""The configuration's parameter with the folder that is served."""

SETTINGS_FILE = "model-settings.json"

ALLOW_PICKLES = "allow-pickles"
"""The backend setting by which runtimes read pickles, which runs what is in them."""

_PACKAGES = Path(__file__).resolve().parent / "packages"

_EXTRAS = {
    "mlserver_sklearn": "scikit-learn joblib",
    "mlserver_xgboost": "xgboost",
    "mlserver_lightgbm": "lightgbm",
}
"""What the runtimes that are here need."""


class MLServerBackend:
    """Serves classes of `MLModel`."""

    default_filename = SETTINGS_FILE
    platform = ""
    takes_messages: Literal[True] = True
    always_isolated: Literal[True] = True

    def gpu_count(self) -> int:
        """Those that the driver shows: which framework a model uses is its own affair."""
        return visible_gpus()

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Find out by the model's class whether it answers any number of times, and which paths of its own it has."""
        kind = _class_of(source, config)
        hosting = _hosting("model")
        routes = [
            (handler.rest_method.upper(), handler.rest_path)
            for handler, _ in importlib.import_module("mlserver.handlers").get_custom_handlers(kind)
        ]
        settings = _settings_of(source, config)
        _declare(settings, config)
        config.platform = settings.platform or config.platform
        if hosting.streams(kind):
            config.model_transaction_policy.decoupled = True
        _batch(settings, config, source.name)
        if settings.cache_enabled:
            logger.warning(
                "model '%s': cache_enabled has no effect: each answer has an id of its own", source.name
            )
        if routes and ROUTES not in config.parameters:
            config.parameters[ROUTES].string_value = json.dumps(routes)

    def load(self, source: ModelSource, config: ModelConfig) -> "LoadedMLModel":
        """Import the model's class."""
        kind = _class_of(source, config)
        if source.metrics is not None:
            _show_metrics(source.metrics)
        settings = _settings_of(source, config)
        loaded: LoadedMLModel = _hosting("model").LoadedMLModel(
            settings, kind, decoupled=config.model_transaction_policy.decoupled
        )
        return loaded


def _batch(settings: Any, config: ModelConfig, name: str) -> None:
    """How requests are batched. There `max_batch_size` counts requests, and here rows: of such a model, each request is
    one.
    """
    if settings.max_batch_size <= 1 or settings.max_batch_time <= 0 or config.max_batch_size:
        return
    if config.model_transaction_policy.decoupled:
        logger.warning(
            "model '%s': max_batch_size has no effect: a model with predict_stream executes each request by itself",
            name,
        )
        return
    config.max_batch_size = settings.max_batch_size
    config.dynamic_batching.max_queue_delay_microseconds = round(settings.max_batch_time * 1_000_000)


def _declare(settings: Any, config: ModelConfig) -> None:
    """What the model says of its tensors, for metadata; nothing is checked by it."""
    said: dict[str, dict[str, Any]] = {"inputs": {}, "outputs": {}}
    for kind, add, tensors in (
        ("inputs", config.input.add, settings.inputs if not config.input else ()),
        ("outputs", config.output.add, settings.outputs if not config.output else ()),
    ):
        for tensor in tensors:
            dims = [size if size > 0 else -1 for size in tensor.shape] or [1]
            datatype = "STRING" if str(tensor.datatype) == "BYTES" else str(tensor.datatype)
            add(name=tensor.name, data_type=f"TYPE_{datatype}", dims=dims)
            if tensor.parameters is not None:
                said[kind][tensor.name] = tensor.parameters.model_dump()
    if any(said.values()):
        config.parameters[TENSOR_PARAMETERS].string_value = json.dumps(said)


def _hosting(name: str) -> Any:
    """A module that imports `mlserver`, which is found from now on: ours goes before any that is installed."""
    if str(_PACKAGES) not in sys.path:
        sys.path.insert(0, str(_PACKAGES))
    return importlib.import_module(f"{__package__}.hosting.{name}")


def _settings_of(source: ModelSource, config: ModelConfig) -> Any:
    # Where it lies, not where a link to it does: its paths are from there.
    file = source.model_file(config).resolve()
    try:
        return _hosting("model").read_settings(file, source.name)
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{file.name}: {error}") from error


def _class_of(source: ModelSource, config: ModelConfig) -> Any:
    """The model's class. Raises InvalidArgumentError for what is not there, InternalError for what its code raises."""
    settings = _settings_of(source, config)
    path = settings.implementation_
    if not path:
        raise InvalidArgumentError(
            f"{config.default_model_filename} has no 'implementation', and MLSERVER_MODEL_IMPLEMENTATION is not set: "
            "expected module.Class"
        )
    module = path.rpartition(".")[0]
    if not module:
        raise InvalidArgumentError(f"implementation '{path}': expected module.Class")
    # As MLServer looks for modules: behind everything else, in the folder that is served, and where the server runs.
    for each in (parameter_texts(config).get(ROOT, ""), str(Path.cwd())):
        if each and each not in sys.path:
            sys.path.append(each)
    # The repository may be read-only, or be somebody else's.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        kind = settings.implementation
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(_missing(path, error.name or "")) from error
    except AttributeError as error:
        raise InvalidArgumentError(f"implementation '{path}': {error}") from error
    except ImportError as error:
        raise InvalidArgumentError(f"implementation '{path}' needs what is not there: {error}") from error
    except Exception as error:
        raise InternalError(f"implementation '{path}': {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = before
    base = importlib.import_module("mlserver.model").MLModel
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise InvalidArgumentError(f"implementation '{path}' is no subclass of mlserver.MLModel")
    pickles = importlib.import_module("mlserver.pickles")
    if boolean(source.settings, ALLOW_PICKLES, False, where="--backend-config mlserver"):
        pickles.allow()
    elif getattr(kind, "reads_pickles", False):
        raise InvalidArgumentError(f"a model of {kind.__name__} is a pickle, {pickles.REFUSAL}")
    return kind


def _missing(path: str, name: str) -> str:
    """What to say of a module that is not there."""
    top = name.partition(".")[0]
    if top == "mlserver":
        return (
            f"implementation '{path}' needs {name}, a part of MLServer that this server does not have: it has models, "
            "types, codecs, errors, handlers, metrics, settings, utils and logging"
        )
    runtime = path.partition(".")[0]
    if runtime in _EXTRAS:
        return f"implementation '{path}' needs the package '{name}': pip install {_EXTRAS[runtime]}"
    if top == runtime and top.startswith("mlserver_"):
        return (
            f"implementation '{path}' needs the runtime {top}, which this server does not have: it has "
            f"{', '.join(_EXTRAS)}, and serves classes of MLModel that you write"
        )
    if top == path.partition(".")[0]:
        return (
            f"implementation '{path}': no module named '{name}', neither in the model's folder nor installed"
        )
    return f"implementation '{path}' needs the package '{name}', which is not installed"


class _Shown:
    """The histograms of a model, made when they are needed."""

    def __init__(self, metrics: Any) -> None:
        self._metrics = metrics
        self._families: dict[str, int] = {}
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}

    def observe(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        """Count a value."""
        key = name, tuple(labels.items())
        series = self._series.get(key)
        if series is None:
            if name not in self._families:
                self._families[name] = self._metrics.family(name, description, "histogram")
            series = self._series[key] = self._metrics.metric(self._families[name], labels, _BUCKETS)
        self._metrics.observe(series, value)


# Those of Prometheus' client library, which MLServer's histograms have.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


def _show_metrics(metrics: Any) -> None:
    importlib.import_module("mlserver.metrics.context").show_with(_Shown(metrics).observe)
