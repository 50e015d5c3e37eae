"""From a model's files and configuration to the interpreter of its environment."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.config.isolation import EXECUTION_ENV_PATH, ISOLATION, wants_isolation
from kserve_v2.config.platforms import OWN_BACKENDS, RUN_CODE
from kserve_v2.environments import made
from kserve_v2.environments.activation import activated, activation_scripts
from kserve_v2.environments.behind import behind, server_directories
from kserve_v2.environments.interpreter import Interpreter
from kserve_v2.environments.named import NamedEnvironment
from kserve_v2.environments.probe import probe
from kserve_v2.environments.requirements import NAME, find_requirements, read_requirements
from kserve_v2.environments.store import Store
from kserve_v2.errors import InvalidArgumentError

logger = logging.getLogger(__name__)

FLAG = "--model-environments"
INSTALL_REQUIREMENTS = "install_requirements"
"""The parameter, "true", by which one model has an environment made of its requirements.txt, whatever others have."""

# Backends of ours that run no code of the model's: what lies beside such a model, perhaps because a tool exports it
# there, changes nothing by itself.
_WITHOUT_CODE = OWN_BACKENDS - RUN_CODE

_NOT_LOOKED_AT = "the model's files were not looked at: a server does both"


class EnvironmentNotMadeError(InvalidArgumentError):
    """The environment would have to be made, or unpacked, and that is not wanted now."""


class ModelEnvironments:
    """The environments of all models of a server. Its methods may be called on any thread."""

    def __init__(
        self, directory: Path | None = None, environ: Mapping[str, str] = os.environ, *, make: bool = True
    ) -> None:
        """`directory`: where environments are made and kept (`--model-environments`). `environ`: the variables of the
        server's own process. `make`: false to find only those that are there.
        """
        # A handler may change where relative paths begin.
        self._directory = directory and directory.absolute()
        self._environ = environ
        self._make = make
        # Before any model has had a chance to change it.
        self._server_directories = server_directories()
        self._told: set[tuple[str, Path]] = set()

    def interpreter_for(self, source: ModelSource, config: ModelConfig) -> Interpreter | None:
        """The interpreter of the model's own environment, which is made if it is not there; None if it has none, and so
        runs with the server's. A model with an environment of its own has to be isolated. Blocks, perhaps for minutes.

        Raises InvalidArgumentError if the environment is wrong, cannot be made, or does not fit the configuration, and
        EnvironmentNotMadeError where none are made.
        """
        named = _parameter(config, EXECUTION_ENV_PATH)
        beside = self._requirements(source, config, named)
        if not named and beside is None:
            return None
        if wants_isolation(config) is False:
            what = f"parameters['{EXECUTION_ENV_PATH}']" if named else f"{NAME} beside the model"
            raise InvalidArgumentError(
                f"{what}: a model has an environment of its own only in a process of its own, and "
                f"parameters['{ISOLATION}'] is 'none': remove one of the two"
            )
        if sys.platform == "win32":
            raise InvalidArgumentError("models have environments of their own on Linux and macOS only")
        if named:
            return self._named(NamedEnvironment.of(named, source.name, source.model_path))
        assert beside is not None  # noqa: S101 - see above
        # One model may ask for it where the server has not been told where to make them.
        directory = self._directory or _usual_directory(
            self._environ, f"{INSTALL_REQUIREMENTS} is true", "install them"
        )
        return self._of_requirements(beside, source.name, Store(directory))

    def _requirements(self, source: ModelSource, config: ModelConfig, named: str) -> Path | None:
        """The requirements.txt of which an environment is to be made. Of one that is not used the log is told, once."""
        path = find_requirements(source.version_path, source.model_path)
        if path is None:
            return None
        if config.backend in _WITHOUT_CODE and not wants_isolation(config):
            self._tell(
                logging.INFO, path, "model '%s': its %s is not used: the backend '%s' runs no code of the model's",
                source.name, NAME, config.backend,
            )  # fmt: skip
            return None
        if named:
            self._tell(
                logging.WARNING, path, "model '%s': its %s is not used: the environment is that of parameters['%s']",
                source.name, NAME, EXECUTION_ENV_PATH,
            )  # fmt: skip
            return None
        if self._directory is None and not _wants_requirements(config):
            self._tell(
                logging.WARNING, path,
                "model '%s': its %s is not used, and the model runs with the server's packages: %s DIR makes an "
                "environment of it", source.name, NAME, FLAG,
            )  # fmt: skip
            return None
        return path

    def advice(self, source: ModelSource, config: ModelConfig) -> str:
        """What may help a model that does not find a module; "" if nothing is known."""
        if self._directory is not None or _parameter(config, EXECUTION_ENV_PATH):
            return ""
        if find_requirements(source.version_path, source.model_path) is None:
            return (
                "a package has to be installed where the server is, or named in a requirements.txt beside the model, "
                f"with {FLAG} DIR; a module of your own lies beside {config.default_model_filename}"
            )
        return f"its {NAME} is not used: {FLAG} DIR makes an environment of it"

    def _tell(self, level: int, about: Path, message: str, *args: object) -> None:
        """Log something, once for each file."""
        if (message, about) not in self._told:
            self._told.add((message, about))
            logger.log(level, message, *args)

    def _named(self, named: NamedEnvironment) -> Interpreter:
        store = Store(
            self._directory
            or _usual_directory(self._environ, f"{EXECUTION_ENV_PATH} names an archive", "unpack it")
        )
        prefix = named.find(store)
        if prefix is None:
            if not self._make:
                raise EnvironmentNotMadeError(f"{named.origin} is not unpacked yet, so that {_NOT_LOOKED_AT}")
            prefix = named.make(store, self._environ)
        if scripts := activation_scripts(prefix):
            self._tell(
                logging.INFO, prefix, "model '%s': scripts for a shell are not run: etc/conda/activate.d/ has %s; what "
                "they set has to be set for the server", named.model, ", ".join(scripts),
            )  # fmt: skip
        if self._environ.get("PYTHONPATH"):
            self._tell(
                logging.INFO, prefix, "model '%s': its environment does not get the server's PYTHONPATH", named.model
            )  # fmt: skip
        environ = activated(prefix, self._environ)
        return _interpreter(prefix, environ, named.origin, same_version=False)

    def _of_requirements(self, path: Path, model: str, store: Store) -> Interpreter:
        requirements = read_requirements(path)
        prefix = store.find(made.stored_name(requirements))
        if prefix is None:
            if not self._make:
                raise EnvironmentNotMadeError(
                    f"the environment of {NAME} is not made yet, so that {_NOT_LOOKED_AT}"
                )
            prefix = made.make(requirements, model, store, self._environ)
        environ = behind(activated(prefix, self._environ), self._server_directories)
        return _interpreter(prefix, environ, f"the environment of {NAME}", same_version=True)


def _interpreter(prefix: Path, environ: Mapping[str, str], origin: str, *, same_version: bool) -> Interpreter:
    """The interpreter of an environment, tried. Raises InvalidArgumentError."""
    python = prefix / "bin" / "python"
    found = probe(python, environ, origin)
    return Interpreter(python, origin, found.version, same_version, found.server, environ)


def _parameter(config: ModelConfig, name: str) -> str:
    return config.parameters[name].string_value if name in config.parameters else ""


def _wants_requirements(config: ModelConfig) -> bool:
    return _parameter(config, INSTALL_REQUIREMENTS) == "true"


def _usual_directory(environ: Mapping[str, str], why: str, what: str) -> Path:
    """Where archives are unpacked if nobody has said where. Raises InvalidArgumentError."""
    cache = environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if (home := environ.get("HOME")) else "")
    if not Path(cache).is_absolute():
        raise InvalidArgumentError(f"{why}: say with {FLAG} DIR where to {what}")
    return Path(cache) / "kserve-v2" / "environments"
