"""`kserve-v2 check`: what is wrong with the models of a repository, and where."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from kserve_v2.checking.check import RepositoryCheck
from kserve_v2.checking.findings import Finding, Level, merged
from kserve_v2.checking.formats import FORMATS, counts
from kserve_v2.checking.unwise import Machine
from kserve_v2.commands.apart import Process
from kserve_v2.commands.looking.models import at_hand, known_model, look_at, looking_options, where_they_lie
from kserve_v2.commands.output import own_output, say
from kserve_v2.errors import ServingError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.settings.settings import Settings
from kserve_v2.startup import StartupError, unreadable


def run(settings: Settings, namespace: argparse.Namespace) -> int:
    """Print the report and return the exit status. The operands are the models, none for all of them. Raises
    SettingsError, StartupError.
    """
    return look_at(namespace.operands, settings, lambda settings: _checked(settings, namespace))


def _checked(settings: Settings, namespace: argparse.Namespace) -> int:
    registry = BackendRegistry()
    options = looking_options(settings, registry)
    machine = Machine(namespace.cpus or cpu_budget(), namespace.gpus)
    check = RepositoryCheck(
        replace(options, opens_files=namespace.thorough), registry, machine, Process.watch
    )
    named = namespace.operands or settings.load_model
    with at_hand(options), own_output():
        names = [] if "*" in named else [known_model(name, options) for name in dict.fromkeys(named)]
        try:
            models, findings = _look(check, names)
            findings = where_they_lie(findings, options)
        except OSError as error:
            raise unreadable(error) from error
        except ServingError as error:
            raise StartupError(f"cannot read the model repository: {error.message}") from error
    say(FORMATS[namespace.format](findings, models))
    number = counts(findings)
    return int(number[Level.ERROR] > 0 or (namespace.strict and number[Level.WARNING] > 0))


def _look(check: RepositoryCheck, names: Sequence[str]) -> tuple[int, list[Finding]]:
    """How many models were looked at, and what was found."""
    if names:
        return len(names), merged(finding for name in names for finding in check.check(name))
    models, findings = check.check_all()
    return len(models), findings
