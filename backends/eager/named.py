"""Which module, and which class in it, a configuration names as the handler: its parameter `handler`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError

from ..parameters import parameter_texts

PARAMETER = "handler"

_NAMED = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<member>[A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class NamedHandler:
    """`module`: its whole name, "" for that of the file. `member`: what the handler is called there, "" for `Model`."""

    module: str = ""
    member: str = ""


def named_handler(config: ModelConfig) -> NamedHandler:
    """What the parameter says. Raises ConfigurationError where it is wrong, or names another file than the model's:
    only that one may be executed.
    """
    parameters: Mapping[str, str] = parameter_texts(config)
    text = parameters.get(PARAMETER, "")
    if not text:
        return NamedHandler()
    match = _NAMED.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"parameters['{PARAMETER}']: expected a class of a module, such as package.module:Class, got '{text}'"
        )
    path = match["module"].replace(".", "/")
    files = (f"{path}.py", f"{path}/__init__.py")
    if config.default_model_filename not in files:
        raise ConfigurationError(
            f"parameters['{PARAMETER}']: module {match['module']} is {files[0]}, but default_model_filename is "
            f"'{config.default_model_filename}'"
        )
    return NamedHandler(match["module"], match["member"])
