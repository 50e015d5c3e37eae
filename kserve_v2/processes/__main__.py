"""A worker. The home starts it by this file's path:

    PYTHON kserve_v2/processes/__main__.py --fds LINK,CONNECTIONS --parent PID

`LINK`: the link to the home. `CONNECTIONS`: where connections are handed over. Both are inherited.
"""

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Answer until the home says stop, or is gone."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    # The same code as the home's, whatever else is installed, or lies in the working directory.
    here = Path(__file__).resolve().parent
    if sys.path and Path(sys.path[0]).resolve() == here:
        del sys.path[0]
    sys.path.insert(0, str(here.parents[1]))
    # Signals to all processes of a container are for the home, which ends its workers itself.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # The rest is imported here: no signal may come before.
    from kserve_v2_child.__main__ import end_with_parent  # noqa: PLC0415

    end_with_parent(int(options["--parent"]))
    from kserve_v2.processes.worker import run  # noqa: PLC0415

    link, connections = map(int, options["--fds"].split(","))
    for descriptor in (link, connections):
        # Not for what models start.
        os.set_inheritable(descriptor, False)
    sys.exit(run(link, connections))


if __name__ == "__main__":
    main()
