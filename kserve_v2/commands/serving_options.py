"""The options of `serve`, which commands that look at its models take, too."""

import argparse
from collections.abc import Callable, Mapping

from kserve_v2.commands import mlserver_settings
from kserve_v2.net.repository_url import RepositoryUrl, is_archive
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings


def effective_settings(
    namespace: argparse.Namespace, environ: Mapping[str, str], no_repository: Callable[[str], Exception]
) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and a warning for everything that was given and ignored. Raises SettingsError, and what
    `no_repository` makes of its text for a repository that is not there.
    """
    given = flags.given(namespace)
    settings, warnings = flags.resolve(given, environ)
    beneath, others = mlserver_settings.defaults(
        mlserver_settings.folders_of(settings.model_repository), environ
    )
    if beneath:
        settings, warnings = flags.resolve(given, environ, beneath)
    warnings += others
    for directory in settings.model_repository:
        if isinstance(directory, RepositoryUrl) or (directory.is_file() and is_archive(directory.name)):
            continue
        if not directory.is_dir():
            problem = "is not a directory" if directory.exists() else "does not exist"
            raise no_repository(f"model repository {str(directory)!r} {problem}")
    return settings, warnings
