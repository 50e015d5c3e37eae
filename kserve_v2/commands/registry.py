"""All commands, in the order of `kserve-v2 --help`."""

from kserve_v2.commands import (
    analyze,
    archive,
    bench,
    check,
    config,
    convert,
    infer,
    init,
    models,
    release,
    serve,
    stats,
)
from kserve_v2.commands.command import Command

COMMANDS: tuple[Command, ...] = (
    serve.COMMAND,
    init.COMMAND,
    archive.COMMAND,
    convert.COMMAND,
    check.COMMAND,
    config.COMMAND,
    infer.COMMAND,
    models.MODELS,
    models.LOAD,
    models.UNLOAD,
    stats.COMMAND,
    release.COMMAND,
    bench.COMMAND,
    analyze.COMMAND,
)
