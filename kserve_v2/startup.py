"""From the settings to what everything that looks at models needs, whether it serves them or not."""

import os

from kserve_v2.caching.cache import ResponseCache
from kserve_v2.environments.models import ModelEnvironments
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.locations.locations import Locations, Where
from kserve_v2.repository.locations.operands import Kind, Operand, read_operands
from kserve_v2.repository.preparing.kept import kept_root
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.residency.residency import Budget
from kserve_v2.settings.settings import Settings


class StartupError(Exception):
    """A server, or another command, cannot start; the text is for the person who started it. From `kserve_v2.serve`, it
    has the reasons of models that cannot be loaded.
    """


def unreadable(error: OSError) -> StartupError:
    """A repository cannot be listed."""
    return StartupError(f"cannot read the model repository: {error.filename}: {error.strerror}")


def repository_options(
    settings: Settings,
    registry: BackendRegistry,
    cache: ResponseCache | None,
    *,
    make_environments: bool = True,
) -> RepositoryOptions:
    """What the settings say of models in general. Raises StartupError."""
    unknown = [name for name in settings.isolate if name not in registry.names]
    if unknown:
        raise StartupError(
            f"--isolate: there is no backend '{unknown[0]}'. Installed backends: {', '.join(registry.names)}"
        )
    return RepositoryOptions(
        roots=tuple(settings.namespaces.values()),
        namespaces=settings.namespaces,
        locations=None if settings.namespaces else _locations(settings),
        backend_settings={name: settings.backend_settings(name) for name in registry.names},
        auto_complete=not settings.disable_auto_complete_config,
        config_name=settings.model_config_name,
        explicit=settings.controlled,
        polling=settings.model_control_mode == "poll" or (settings.reload and not settings.controlled),
        on_demand_wait_s=settings.on_demand_wait_secs if settings.model_control_mode == "on-demand" else None,
        cache=cache,
        environments=ModelEnvironments(settings.model_environments, os.environ, make=make_environments),
        kept=kept_root(settings.model_cache_dir, os.environ),
        isolated=frozenset(settings.isolate),
        auto_warm_up=settings.auto_warmup,
        drain_limit_s=settings.drain_timeout_secs,
        release_directory=settings.release_directory,
        memory=Budget(dict(settings.memory_budget), settings.memory_min_idle_secs),
    )


def _locations(settings: Settings) -> Locations:
    """Where models come from. Raises StartupError."""
    try:
        where = Where(
            # TorchServe's archives are models when they are registered.
            () if settings.torchserve else settings.model_repository,
            settings.model_name,
            _single_models(settings),
            (settings.input, settings.output),
            settings.staging_dir,
            settings.staging_size_limit,
        )
        locations = Locations(where, os.environ)
        locations.prepare()
    except ServingError as error:
        raise StartupError(error.message) from error
    except OSError as error:
        raise unreadable(error) from error
    return locations


def _single_models(settings: Settings) -> list[Operand]:
    """Raises InvalidArgumentError for what is none."""
    models = read_operands(settings.model)
    for text, model in zip(settings.model, models, strict=True):
        if model.kind is Kind.REPOSITORY:
            raise InvalidArgumentError(
                f"--model {text} is {model.kind.value}: give --model-repository {text}"
            )
    return models
