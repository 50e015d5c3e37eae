"""Settings from flags and environment variables. A flag outweighs its variable, which outweighs the default.

Nothing else in the server reads the command line or the environment.
"""

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kserve_v2 import options
from kserve_v2.options import ENVIRONMENT_PREFIX
from kserve_v2.settings import OPTIONS, Settings
from kserve_v2.triton_options import IGNORED_OPTIONS


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every option to `parser`, in groups, and Triton's other options unseen. All values stay texts."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        shown = option.kind.show(option.default)
        default = f"default {shown}; " if shown else ""
        bare: dict[str, Any] = {"nargs": "?", "const": "true"} if option.kind is options.BOOLEAN else {}
        groups[option.group].add_argument(
            option.flag,
            *option.aliases,
            dest=option.name,
            action="append",
            default=argparse.SUPPRESS,
            metavar=option.kind.metavar,
            help=f"{option.help} [{default}{option.variable}]".replace("%", "%%"),
            **bare,
        )
    for name in IGNORED_OPTIONS:
        parser.add_argument(
            f"--{name}", nargs="?", action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def resolve(
    flags: Mapping[str, Sequence[str]], environ: Mapping[str, str]
) -> tuple[Settings, tuple[str, ...]]:
    """The effective settings, and a line of warning for everything that was given and ignored.

    `flags`: what a parser with `add_flags` collected, option name to texts. An empty variable is not set.
    Raises SettingsError.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in flags:
            values[option.name] = option.from_flag(flags[option.name])
        elif environ.get(option.variable):
            values[option.name] = option.from_variable(environ[option.variable])
    settings = Settings(**values)
    return settings, (*_ignored_flags(flags), *_unknown_variables(environ), *_unused_files(settings))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean X?` if something in `known` is close to `word`, otherwise nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def known_flags() -> list[str]:
    """Every flag that is understood, aliases included."""
    return [flag for option in OPTIONS for flag in (option.flag, *option.aliases)]


def _ignored_flags(flags: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"--{name} is ignored: {reason}"
        for name, reason in IGNORED_OPTIONS.items()
        if name.replace("-", "_") in flags
    ]


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    known = {option.variable for option in OPTIONS}
    return [
        f"environment variable {name} is ignored: no option has this name{did_you_mean(name, known)}"
        for name in sorted(environ)
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known
    ]


def _unused_files(settings: Settings) -> list[str]:
    """Files for TLS that nothing uses. Triton ignores them in silence; here nobody shall think to be protected."""
    warnings = []
    for protocol, name in (("http", "HTTP"), ("grpc", "gRPC")):
        tls = settings.tls(protocol)
        given = [f"{protocol}_{file}" for file in ("server_cert", "server_key", "root_cert")]
        unused = [
            option.flag for option in OPTIONS if option.name in given and getattr(settings, option.name)
        ]
        if tls is None:
            warnings += [
                f"{flag} is ignored: {name} connections are NOT encrypted without --{protocol}-use-ssl"
                for flag in unused
            ]
        elif tls.client_roots is None and f"--{protocol}-root-cert" in unused:
            warnings.append(
                f"--{protocol}-root-cert is ignored: clients are NOT asked for certificates without "
                f"--{protocol}-use-ssl-mutual"
            )
    return warnings
