"""Ends the processes of all models, with what they have started, when their server is gone, however it went. A model's
own process notices that itself, but is ended by the kernel before it could end others.

Reads the numbers of process groups from its standard input: `+N` for one that is there, `-N` for one that is not any
more. The server alone has the other end.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Wait for the end of the server."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:  # noqa: PERF203 - it has ended by itself
            continue


if __name__ == "__main__":
    main()
