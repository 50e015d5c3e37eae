"""Models that are named on the command line, and the options of the server that would serve them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from kserve_v2.caching.config import CacheConfig
from kserve_v2.caching.make import make_cache
from kserve_v2.checking.check import all_models
from kserve_v2.checking.findings import Finding, as_given
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.locations.linked import lies_at
from kserve_v2.repository.locations.location import OneModelError
from kserve_v2.repository.preparing.candidate import find_entry
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.settings.flags import did_you_mean
from kserve_v2.settings.options import SettingsError
from kserve_v2.settings.settings import Settings
from kserve_v2.startup import StartupError, repository_options

_MOST_NAMES = 10


def looking_options(settings: Settings, registry: BackendRegistry) -> RepositoryOptions:
    """Those of a server with these settings, for looking at its models. Raises StartupError."""
    # Nothing is kept, but models may ask for a cache if the server would have one.
    cache = make_cache(CacheConfig(size=1)) if settings.cache_config.text else None
    return repository_options(settings, registry, cache, make_environments=False)


@contextmanager
def at_hand(options: RepositoryOptions) -> Iterator[None]:
    """Let go of what brings models to this machine when the command ends."""
    try:
        yield
    finally:
        if options.locations is not None:
            options.locations.close()


def known_model(name: str, options: RepositoryOptions) -> str:
    """The name, if a repository has such a model. Raises SettingsError, and OneModelError for what is no repository."""
    try:
        if options.locations is not None:
            options.locations.materialize(name)
        if find_entry(name, options) is not None:
            return name
    except OneModelError:
        raise
    except InvalidArgumentError as error:
        raise SettingsError(error.message) from None
    except ServingError as error:
        raise StartupError(f"model '{name}': {error.message}") from None
    models = all_models(options).models
    hint = did_you_mean(name, models) or f"; {what_is_there(models)}"
    raise SettingsError(f"no model repository has a directory of the name '{name}'{hint}")


def what_is_there(models: Collection[str]) -> str:
    """Which models there are, for whoever has named none of them."""
    if not models:
        return "there is no model"
    shown = [*models][:_MOST_NAMES]
    more = f" and {len(models) - len(shown)} more" if len(models) > len(shown) else ""
    return f"there {'are' if len(models) > 1 else 'is'} {', '.join(shown)}{more}"


def look_at(names: Sequence[str], settings: Settings, look: Callable[[Settings], int]) -> int:
    """Look at models of these names, with settings of the server. An archive that is one model has no name of its own:
    it is called what is asked for, as if --model-name said so. Raises what `look` raises, and SettingsError.
    """
    try:
        return look(settings)
    except OneModelError as error:
        if len(names) != 1 or len(settings.model_repository) != 1:
            raise SettingsError(error.message) from None
    return look(replace(settings, model_name=names[0]))


def single_models(options: RepositoryOptions) -> list[str]:
    """The names of models that lie in no repository, or are one."""
    return [] if options.locations is None else options.locations.single


def where_they_lie(findings: Iterable[Finding], options: RepositoryOptions) -> list[Finding]:
    """What was found of models that lie in no repository, with the paths of the person who has named them, and of
    models from elsewhere with the places there.
    """
    shown = []
    for finding in findings:
        path = lies_at(finding.path)
        # What the server has written for them has no lines that anybody could look at.
        known = path.name == finding.path.name
        line, column = (finding.line, finding.column) if known else (0, 0)
        origin = options.locations.origin_of_file(path) if options.locations is not None else ""
        shown.append(as_given(replace(finding, path=path, line=line, column=column), origin))
    return shown
