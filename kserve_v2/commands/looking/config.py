"""`kserve-v2 config`: what a model is served with, and where each field comes from."""

import argparse
import json
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.checking.annotated import annotated
from kserve_v2.checking.check import RepositoryCheck, all_models, config_text
from kserve_v2.checking.findings import Level
from kserve_v2.checking.formats import as_text
from kserve_v2.checking.listening import listening
from kserve_v2.checking.origins import Origin, Origins, leaves
from kserve_v2.checking.unwise import Machine
from kserve_v2.commands.apart import Process
from kserve_v2.commands.command import UsageError
from kserve_v2.commands.looking.models import (
    at_hand,
    known_model,
    look_at,
    looking_options,
    single_models,
    what_is_there,
    where_they_lie,
)
from kserve_v2.commands.output import own_output, say, tell
from kserve_v2.config import config_to_dict
from kserve_v2.errors import InternalError, ServingError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.locations.linked import is_made
from kserve_v2.repository.locations.location import OneModelError
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.preparing.candidate import read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import Stage, prepare_version
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.settings.options import SettingsError
from kserve_v2.settings.settings import Settings


def run(settings: Settings, namespace: argparse.Namespace) -> int:
    """Print the configuration of the one operand and return the exit status. Raises UsageError, SettingsError,
    StartupError.
    """
    return look_at(namespace.operands, settings, lambda settings: _shown(settings, namespace))


def _shown(settings: Settings, namespace: argparse.Namespace) -> int:
    registry = BackendRegistry()
    options = looking_options(settings, registry)
    with at_hand(options), own_output(), listening(), chdir(Path.cwd()):
        name = known_model(_the_one(namespace.operands, settings, options), options)
        watch = Process.watch
        try:
            if name in watch.ended:
                raise InternalError(watch.ended[name])
            with watch.looking(name):
                text = _config(name, namespace.model_version or 0, namespace.format, options, registry)
        except ServingError:
            check = RepositoryCheck(options, registry, Machine(cpu_budget()), watch)
            wrong = where_they_lie(
                (each for each in check.check(name) if each.level is not Level.WARNING), options
            )
            tell(as_text(wrong, 1))
            return 1
    say(text)
    return 0


def _the_one(operands: Sequence[str], settings: Settings, options: RepositoryOptions) -> str:
    """The name of the model that is meant. Raises UsageError unless it is one. A single model need not be named."""
    names = single_models(options)
    if operands:
        # The name of a repository that is one model may be given twice.
        names = [*operands, *(each for each in names if each != settings.model_name)]
    if len(names) != 1:
        instead = "" if names else _instead(settings, options)
        raise UsageError(
            f"expected one model: kserve-v2 config REPO MODEL, or kserve-v2 config FILE{instead} (see kserve-v2 config "
            "--help)"
        )
    return names[0]


def _instead(settings: Settings, options: RepositoryOptions) -> str:
    """What could be named, where nothing is; "" if that cannot be said."""
    try:
        return f"; {what_is_there(all_models(options).models)}"
    except OneModelError:
        where = ", ".join(map(str, settings.model_repository))
        return f"; {where} is one model without a name: kserve-v2 config {where} NAME gives it one"
    except (OSError, ServingError):
        return ""


def _config(name: str, wanted: int, form: str, options: RepositoryOptions, registry: BackendRegistry) -> str:
    """What is to be printed. Raises ServingError for a model that cannot be served, SettingsError for a version that is
    not.
    """
    candidate = read_candidate(name, options)
    version = wanted or max(candidate.versions)
    if version not in candidate.versions:
        shown = ", ".join(map(str, candidate.versions))
        raise SettingsError(f"--model-version: version {version} of '{name}' is not served, but {shown}")
    written = config_text(candidate.entry, options)
    stages: dict[Stage, ModelConfig] = {}

    def watch(stage: Stage, config: ModelConfig) -> None:
        stages[stage] = ModelConfig()
        stages[stage].CopyFrom(config)

    prepared = prepare_version(candidate, version, options, registry, watch)
    if not isinstance(prepared, PreparedEnsemble):
        prepared.source.handover.close()
    config = prepared.config
    settings = options.backend_settings.get(config.backend, {})
    made = is_made(candidate.entry.path)
    origins = Origins(written, stages, config, settings, made=made)
    if form == "json":
        return json.dumps(_json(version, config, origins), indent=2, ensure_ascii=False)
    return f"# Model '{name}', version {version}, as it is served.\n{annotated(config, origins)}"


def _json(version: int, config: ModelConfig, origins: Origins) -> dict[str, Any]:
    return {
        "name": config.name,
        "version": version,
        "config": config_to_dict(config),
        "origins": {path: _origin(origins.of(path)) for path in leaves(config)},
    }


def _origin(origin: Origin) -> dict[str, Any]:
    shown: dict[str, Any] = {"from": origin.source.value}
    if origin.where:
        shown["where"] = origin.where
    if origin.line:
        shown |= {"line": origin.line, "column": origin.column}
    return shown
