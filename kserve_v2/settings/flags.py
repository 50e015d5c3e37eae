"""Settings from flags and environment variables. A flag outweighs its variable, which outweighs the default.

Nothing else in the server reads the command line or the environment.
"""

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kserve_v2.settings import options
from kserve_v2.settings.options import CLIENT_VARIABLES, ENVIRONMENT_PREFIX, Option, SettingsError
from kserve_v2.settings.settings import GRPC, HTTP, METRICS, OPTIONS, Settings
from kserve_v2.settings.torchserve_options import IGNORED_TORCHSERVE_OPTIONS
from kserve_v2.settings.triton_options import BACKEND_SETTINGS, IGNORED_OPTIONS, REFUSED_OPTIONS

_TLS_FILES = ("server_cert", "server_key", "root_cert")
_BY_NAME = {option.name: option for option in OPTIONS}
_IGNORED = {**IGNORED_OPTIONS, **IGNORED_TORCHSERVE_OPTIONS}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every option to `parser`, in groups, and other options of Triton's and TorchServe's unseen. All values stay
    texts.
    """
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
    for name in (*_IGNORED, *REFUSED_OPTIONS):
        parser.add_argument(
            f"--{name}", nargs="?", action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def given(namespace: argparse.Namespace) -> dict[str, list[str]]:
    """What a command line that was parsed with `add_flags` says of the options, name to texts."""
    hidden = (name.replace("-", "_") for name in (*_IGNORED, *REFUSED_OPTIONS))
    return {name: getattr(namespace, name) for name in (*_BY_NAME, *hidden) if name in namespace}


def resolve(
    flags: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    beneath: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> tuple[Settings, tuple[str, ...]]:
    """The effective settings, and a line of warning for everything that was given and ignored.

    `flags`: as `given` has them. An empty variable is not set. `beneath`: what holds where neither says anything, in
    the same form.
    Raises SettingsError, also for what must not be ignored.
    """
    _raise_if_refused(flags, environ)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in flags:
            values[option.name] = option.from_flag(flags[option.name])
        elif environ.get(option.variable):
            values[option.name] = option.from_variable(environ[option.variable])
        elif option.name in beneath:
            values[option.name] = option.from_flag(list(beneath[option.name]))
    settings = Settings(**values)
    warnings = (
        *_ignored_flags(flags),
        *_given_again(flags),
        *_unknown_variables(environ),
        *_unread_backend_settings(settings),
        *_unused_files(settings),
        *_unused_resources(settings),
        *_unused_control(settings),
        *_unused_fronts(settings),
        *_unused_companions(settings),
    )
    return settings, warnings


def command_line(settings: Settings) -> str:
    """Every option with its value, in one line."""
    return " ".join(f"{option.flag}={option.kind.show(getattr(settings, option.name))}" for option in OPTIONS)


def texts(settings: Settings) -> dict[str, list[str]]:
    """What `resolve` makes these settings of, in the form of `given`. There may be passwords in it."""
    values = ((option, getattr(settings, option.name)) for option in OPTIONS)
    return {option.name: option.kind.texts(value) for option, value in values if value != option.default}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean X?` if something in `known` is close to `word`, otherwise nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _raise_if_refused(flags: Mapping[str, Sequence[str | None]], environ: Mapping[str, str]) -> None:
    """Raise SettingsError where a flag, or its variable, asks for something that must not be ignored."""
    for name, reason in REFUSED_OPTIONS.items():
        option = name.replace("-", "_")
        variable = ENVIRONMENT_PREFIX + option.upper()
        given = [(f"--{name}", text) for text in flags.get(option, [])]
        if not given and environ.get(variable):
            given = [(variable, environ[variable])]
        if given:
            raise SettingsError(f"{given[0][0]} is not supported: {reason}")


def _ignored_flags(flags: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"--{name} is ignored: {reason}"
        for name, reason in _IGNORED.items()
        if name.replace("-", "_") in flags
    ]


def _given_again(flags: Mapping[str, Sequence[str]]) -> list[str]:
    """Options of which, as in Triton, the last value counts, so that whoever adds to a command line can replace one."""
    warnings = []
    for option in OPTIONS:
        texts = flags.get(option.name, ())
        if len(set(texts)) > 1 and _counts_alone(texts[-1], option, option.from_flag(texts)):
            shown = option.kind.show(option.from_flag(texts))
            warnings.append(f"{option.flag} is given {len(texts)} times: the last value, {shown}, counts")
    return warnings


def _counts_alone(last: str, option: Option[Any], value: object) -> bool:
    """Whether the last of several texts is all that the value is made of."""
    try:
        return bool(option.from_flag([last]) == value)
    except SettingsError:
        # It needs the others.
        return False


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    # Refused ones that have come this far are empty.
    refused = {ENVIRONMENT_PREFIX + name.replace("-", "_").upper() for name in REFUSED_OPTIONS}
    known = {option.variable for option in OPTIONS} | refused | CLIENT_VARIABLES
    return [
        f"environment variable {name} is ignored: no option has this name{did_you_mean(name, known)}"
        for name in sorted(environ)
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known
    ]


def _unread_backend_settings(settings: Settings) -> list[str]:
    """Settings of the backends that come with the server which none of them reads; a plug-in's are its own business."""
    of_all: set[str] = set().union(*BACKEND_SETTINGS.values())
    return [
        f"--backend-config {backend},{key}={value} is ignored: backend {backend!r} has no such setting"
        f"{did_you_mean(key, BACKEND_SETTINGS[backend])}"
        if backend
        else f"--backend-config {key}={value} is ignored by the server's own backends: none has such a setting"
        f"{did_you_mean(key, of_all)}"
        for backend, pairs in settings.backend_config.items()
        for key, value in pairs.items()
        if (backend in BACKEND_SETTINGS or not backend) and key not in BACKEND_SETTINGS.get(backend, of_all)
    ]


def _unused_files(settings: Settings) -> list[str]:
    """Files for TLS that nothing uses. Triton ignores them in silence; here nobody shall think to be protected."""
    warnings = []
    for protocol, name in (("http", "HTTP"), ("grpc", "gRPC")):
        tls = settings.tls(protocol)
        given = [f"{protocol}_{file}" for file in _TLS_FILES]
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


def _unused_resources(settings: Settings) -> list[str]:
    if settings.rate_limit_resource and settings.rate_limit == "off":
        return [
            "--rate-limit-resource is ignored: no execution waits for it without --rate-limit execution_count"
        ]
    return []


def _unused_control(settings: Settings) -> list[str]:
    """What belongs to a control mode that is not chosen."""
    mode, warnings = settings.model_control_mode, []
    for option in (_BY_NAME["repository_poll_secs"], _BY_NAME["repository_settle_secs"]):
        if getattr(settings, option.name) != option.default:
            if settings.reload:
                warnings.append(f"{option.flag} is ignored: --reload looks at the repository every second")
            elif mode != "poll":
                warnings.append(f"{option.flag} is ignored: nobody polls without --model-control-mode poll")
    if settings.on_demand_wait_secs != _BY_NAME["on_demand_wait_secs"].default and mode != "on-demand":
        warnings.append(
            "--on-demand-wait-secs is ignored: no request waits without --model-control-mode on-demand"
        )
    return warnings


def _unused_fronts(settings: Settings) -> list[str]:
    """What says how something is served that is not."""
    # It holds for gRPC, too; and files for TLS that nothing uses are told of by themselves.
    elsewhere = {
        "http_max_input_size",
        *(f"{name}_{file}" for name in ("http", "grpc") for file in _TLS_FILES),
    }
    return [
        f"{option.flag} is ignored: {what} is not served with --{allow.replace('_', '-')}=false"
        for allow, group, what in (
            ("allow_http", HTTP, "REST"),
            ("allow_grpc", GRPC, "gRPC"),
            ("allow_metrics", METRICS, "/metrics"),
        )
        if not getattr(settings, allow)
        for option in OPTIONS
        if option.group == group and option.name not in (allow, *elsewhere)
        if getattr(settings, option.name) != option.default
    ]


def _unused_companions(settings: Settings) -> list[str]:
    """What says more of something that is not asked for."""
    return [
        f"{_BY_NAME[name].flag} is ignored: {why}"
        for name, is_used, why in (
            ("memory_min_idle_secs", settings.memory_budget, "nothing makes room without --memory-budget"),
            ("replicate_up_to", settings.processes != 1, "there is one process without --processes"),
            (
                "grpc_max_connection_age_grace",
                settings.grpc_max_connection_age,
                "no connection is ended without --grpc-max-connection-age",
            ),
        )
        if not is_used and getattr(settings, name) != _BY_NAME[name].default
    ]
