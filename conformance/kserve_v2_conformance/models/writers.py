"""Write the test models in the form that a server loads."""

import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

from .catalogue import BROKEN, CATALOGUE, ModelSpec, TensorSpec
from .triton_config import LABEL_FILE, config_text

_NO_BF16 = "the server has no datatype BF16"
_NO_LABELS = "the server has no classification extension"
_NO_QUEUE_POLICY = "the server has no queue policies"
_NO_SEQUENCES = "the server has no sequence scheduler"
_NO_DECOUPLED = "the server has no decoupled models with the messages of Triton's ModelStreamInfer"
_LOADED_AT_START = "the server offers every model of its repository from the start"

# The models that a server cannot have, and why.
OMITTED: dict[str, dict[str, str]] = {
    "kserve-v2": {},
    "triton": {"answer_parameters": "the Python backend of 2.51 cannot give a response parameters"},
    "mlserver": {
        "identity_bf16": _NO_BF16,
        "queued": _NO_QUEUE_POLICY,
        "prioritized": _NO_QUEUE_POLICY,
        "repeat": _NO_DECOUPLED,
        "generate_text": "the server's generate takes an inference request, not named inputs",
        "generate_tokens": "the server's generate takes an inference request, not named inputs",
        "generate_failing": "the server's generate takes an inference request, not named inputs",
        "sequence_sum": _NO_SEQUENCES,
        "classes": _NO_LABELS,
        "classes_batched": _NO_LABELS,
        "loadable": _LOADED_AT_START,
        "broken": _LOADED_AT_START,
    },
    "kserve": {
        "identity_bf16": _NO_BF16,
        "versions": "models of the server have no versions",
        "queued": _NO_QUEUE_POLICY,
        "prioritized": _NO_QUEUE_POLICY,
        "repeat": _NO_DECOUPLED,
        "generate_text": "the server has no generate extension",
        "generate_tokens": "the server has no generate extension",
        "generate_failing": "the server has no generate extension",
        "sequence_sum": _NO_SEQUENCES,
        "classes": _NO_LABELS,
        "classes_batched": _NO_LABELS,
        "loadable": _LOADED_AT_START,
        "broken": _LOADED_AT_START,
    },
}
_TORCHSERVE = {f"identity_{each}" for each in ("bool", "int32", "int64", "fp32", "fp64", "bytes")} | {
    "add_sub"
}
_ONE_ENVELOPE = "the server's envelope for the protocol has nothing but values for a model"
OMITTED["torchserve"] = {each.name: _ONE_ENVELOPE for each in CATALOGUE if each.name not in _TORCHSERVE}
SERVERS = tuple(OMITTED)


def write(server: str, directory: Path, broken: bool = False) -> tuple[ModelSpec, ...]:
    """Write the models for `server`, one of SERVERS, into `directory`; returns those that were written.

    `broken`: also the one that cannot be loaded, on which a server may not start.

    Raises ValueError for another server, and FileExistsError where `directory` exists and is not empty.
    """
    if server not in SERVERS:
        raise ValueError(f"server: expected one of {', '.join(SERVERS)}, got {server!r}")
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty: name a directory that is, or that does not exist")
    directory.mkdir(parents=True, exist_ok=True)
    models = tuple(each for each in models_of(server) if broken or each.name != BROKEN)
    _WRITERS[server](models, directory)
    return models


def models_of(server: str) -> tuple[ModelSpec, ...]:
    """The models that `server` can have."""
    return tuple(model for model in CATALOGUE if model.name not in OMITTED[server])


def _write_kserve_v2(models: Iterable[ModelSpec], directory: Path) -> None:
    for model in models:
        template = "kserve_v2_decoupled.py" if model.decoupled else "kserve_v2.py"
        _write_triton_layout(model, template, directory / model.name)


def _write_triton(models: Iterable[ModelSpec], directory: Path) -> None:
    for model in models:
        _write_triton_layout(model, "triton.py", directory / model.name)


def _write_triton_layout(model: ModelSpec, template: str, directory: Path) -> None:
    for version in model.versions:
        _copy({template: "model.py", "computations.py": "computations.py"}, directory / str(version))
    (directory / "config.pbtxt").write_text(config_text(model))
    if model.labels:
        (directory / LABEL_FILE).write_text("\n".join(model.labels) + "\n")


def _write_mlserver(models: Iterable[ModelSpec], directory: Path) -> None:
    for model in models:
        for version in model.versions:
            place = directory / model.name / str(version)
            _copy({"mlserver.py": "conformance_runtime.py", "computations.py": "computations.py"}, place)
            settings = {
                "name": model.name,
                "implementation": "conformance_runtime.Runtime",
                "platform": "numpy",
                "versions": [str(each) for each in model.versions],
                **_metadata(model),
                "parameters": {"version": str(version), "extra": {"behaviour": model.behaviour.name}},
            }
            (place / "model-settings.json").write_text(json.dumps(settings, indent=2))


def _write_kserve(models: Iterable[ModelSpec], directory: Path) -> None:
    _copy({"kserve.py": "server.py", "computations.py": "computations.py"}, directory)
    described = [
        {"name": model.name, "behaviour": model.behaviour.name, **_metadata(model)} for model in models
    ]
    (directory / "models.json").write_text(json.dumps(described, indent=2))


def _write_torchserve(models: Iterable[ModelSpec], directory: Path) -> None:
    """A store of archives, and the properties that switch the protocol on."""
    store = directory / "store"
    store.mkdir()
    for model in models:
        manifest = {"modelName": model.name, "modelVersion": "1.0", "handler": "handler.py:handle"}
        with ZipFile(store / f"{model.name}.mar", "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": manifest}))
            archive.writestr("handler.py", _template("torchserve.py"))
            archive.writestr("computations.py", _template("computations.py"))
    properties = (
        "ts_open_inference_protocol=true",
        "service_envelope=kservev2",
        "default_workers_per_model=1",
    )
    (directory / "config.properties").write_text("\n".join(properties) + "\n")


def _metadata(model: ModelSpec) -> dict[str, list[dict[str, object]]]:
    """Inputs and outputs as in a model's metadata: a batch dimension is part of the shape."""
    batch = [-1] if model.max_batch_size else []

    def described(tensors: Iterable[TensorSpec]) -> list[dict[str, object]]:
        return [
            {"name": each.name, "datatype": each.datatype, "shape": [*batch, *each.dims]} for each in tensors
        ]

    return {"inputs": described(model.inputs), "outputs": described(model.outputs)}


def _copy(names: dict[str, str], directory: Path) -> None:
    """Copy templates into `directory`, each under its new name."""
    directory.mkdir(parents=True, exist_ok=True)
    for template, name in names.items():
        (directory / name).write_text(_template(template), encoding="utf-8")


def _template(name: str) -> str:
    return files(f"{__package__}.templates").joinpath(name).read_text(encoding="utf-8")


_WRITERS: dict[str, Callable[[Iterable[ModelSpec], Path], None]] = {
    "kserve-v2": _write_kserve_v2,
    "triton": _write_triton,
    "mlserver": _write_mlserver,
    "kserve": _write_kserve,
    "torchserve": _write_torchserve,
}
