"""Options of the command `torchserve` that are understood and not acted on, so that its command lines can be pasted."""

IGNORED_TORCHSERVE_OPTIONS = {
    "disable-token-auth": "no tokens are needed unless --token-auth asks for them",
    "dt": "no tokens are needed unless --token-auth asks for them",
    "foreground": "the server always stays in the foreground",
    "log-config": "see --log-format and the other options of the log",
    "ncs": "no snapshots are written",
    "no-config-snapshots": "no snapshots are written",
    "plugins-path": "plug-ins of TorchServe are Java archives",
    "start": "to start is what `serve` does",
}
"""Name of the option, without dashes, to what the user has to know about it."""
