"""What the commands that look at models and serve none have in common on their command lines."""

import argparse
from collections.abc import Callable, Mapping

from kserve_v2.commands.command import CommandError, UsageError
from kserve_v2.commands.numbers import number_above_zero
from kserve_v2.commands.output import tell
from kserve_v2.commands.serving_options import effective_settings
from kserve_v2.settings.settings import Settings

_TIMEOUT_S = 120.0


def add_time_limit(group: argparse._ArgumentGroup) -> None:
    """Add the option of how long a model's code may take."""
    group.add_argument(
        "--model-timeout",
        type=number_above_zero,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help="How long it may take to look at one model: its code may hang when it is imported, and is ended then. "
        f"[default {_TIMEOUT_S:g}]",
    )


def look(namespace: argparse.Namespace, environ: Mapping[str, str], work: Callable[[Settings], int]) -> int:
    """Do the command's work with the settings of a server that has these options. Raises SettingsError, UsageError,
    CommandError.
    """
    settings, warnings = effective_settings(namespace, environ, UsageError)
    from kserve_v2.startup import StartupError  # noqa: PLC0415 - large

    for warning in warnings:
        tell(f"warning: {warning}")
    try:
        return work(settings)
    except StartupError as error:
        raise CommandError(str(error)) from None
