"""The metrics of handlers that a metrics.yaml of TorchServe's lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kserve_v2.errors import InvalidArgumentError


class ListedMetric(NamedTuple):
    """One of them. `kind`: counter, gauge or histogram. `dimensions`: the names of its labels."""

    name: str
    kind: str
    unit: str
    dimensions: Sequence[str]


_KINDS = frozenset({"counter", "gauge", "histogram"})


def listed_metrics(path: Path) -> list[ListedMetric]:
    """Those of models. Raises InvalidArgumentError."""
    try:
        import yaml  # noqa: PLC0415 - only where there is such a file
    except ModuleNotFoundError:
        raise InvalidArgumentError(
            f"metrics_config {path}: to read it takes the Python package pyyaml: pip install pyyaml"
        ) from None
    try:
        document: Any = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InvalidArgumentError(f"metrics_config {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidArgumentError(f"metrics_config {path} is not YAML: {error}") from None
    models = document.get("model_metrics") if isinstance(document, dict) else None
    return [
        ListedMetric(str(each["name"]), kind, str(each.get("unit", "")), _texts(each.get("dimensions")))
        for kind, listed in (models.items() if isinstance(models, dict) else ())
        if kind in _KINDS and isinstance(listed, list)
        for each in listed
        if isinstance(each, dict) and "name" in each
    ]


def _texts(value: Any) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list) else ()
