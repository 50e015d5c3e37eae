"""All commands, in the order of `kserve-v2 --help`."""

from kserve_v2.commands import analyze, bench, check, config, release, serve
from kserve_v2.commands.command import Command

COMMANDS: tuple[Command, ...] = (
    serve.COMMAND,
    check.COMMAND,
    config.COMMAND,
    release.COMMAND,
    bench.COMMAND,
    analyze.COMMAND,
)
