"""The options of `kserve-v2 serve` as keyword arguments: by the same names, with Python's values or with those of the
command line.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kserve_v2.settings.options import Option
from kserve_v2.settings.settings import OPTIONS, Settings

_BY_NAME: Mapping[str, Option[Any]] = {option.name: option for option in OPTIONS}
_PORTS = ("http_port", "grpc_port", "metrics_port")


def make_settings(
    given: Mapping[str, Any], port: int | None, repositories: list[str], models: list[str]
) -> Settings:
    """The settings of a server. `port`: that of REST; 0 for any free one, and then for gRPC and the metrics, too.
    `repositories`, `models`: what is served beside what options say. Raises TypeError for an option that does not
    exist, SettingsError for a value that does not fit.
    """
    values: dict[str, Any] = (
        {} if port is None else dict.fromkeys(_PORTS, 0) if port == 0 else {"http_port": port}
    )
    for name, value in given.items():
        option = _BY_NAME.get(name)
        if option is None:
            close = difflib.get_close_matches(name, _BY_NAME, n=1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise TypeError(
                f"unexpected argument {name!r}{hint}; options are called as the flags of `kserve-v2 serve`"
            )
        values[name] = _value(option, value)
    for name, texts in (("model_repository", repositories), ("model", models)):
        if texts:
            read = _BY_NAME[name].from_flag(texts)
            values[name] = (*values.get(name, ()), *read)
    return Settings(**values)


def _value(option: Option[Any], value: Any) -> Any:
    """A text, or a list of them, is read as flags are."""
    if isinstance(value, Path) and not isinstance(option.default, Path | None):
        value = str(value)
    if isinstance(value, str) and not isinstance(option.default, str):
        return option.from_flag([value])
    if isinstance(value, list | tuple) and value and all(isinstance(each, str | Path) for each in value):
        return option.from_flag([str(each) for each in value])
    return value
