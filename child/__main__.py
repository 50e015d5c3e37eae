"""The process of an isolated model. The server starts it by this file's path, in whatever interpreter the model has:

    PYTHON child/__main__.py --fds SIDE,SOCKETS --parent PID

`SIDE`: the channel of the process. `SOCKETS`: where the channels of its instances come from. Both are inherited.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys

PACKAGE = "kserve_v2_child"

UNUSABLE = 121
"""The exit status of an interpreter that lacks what every model's process needs."""

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Be killed when the server is, however busy this process is then; and leave what is typed to the server alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It ended before the line above.
        os._exit(1)
    # Ctrl-C in a terminal is for the server, which ends its models itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # This is no foreground process of any terminal, but may write to one.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def import_package() -> None:
    """Make this folder importable as the package that it is, and nothing else that lies beside it."""
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - the less is imported the better
    if sys.path and os.path.abspath(sys.path[0]) == folder:  # noqa: PTH100
        del sys.path[0]
    spec = importlib.util.spec_from_file_location(
        PACKAGE,
        os.path.join(folder, "__init__.py"),  # noqa: PTH118
        submodule_search_locations=[folder],
    )
    assert spec is not None and spec.loader is not None  # noqa: S101 - it is a file that is there
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def main() -> None:
    """Serve the model until the server says stop, or is gone."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    end_with_parent(int(options["--parent"]))
    import_package()
    side, sockets = map(int, options["--fds"].split(","))
    # Not for the model's own children, whatever starts them.
    os.set_inheritable(side, False)
    os.set_inheritable(sockets, False)
    del sys.argv[1:]
    try:
        runtime = importlib.import_module(f"{PACKAGE}.runtime")
    except ImportError as error:
        print(f"{sys.executable} cannot run models: {error}", file=sys.stderr, flush=True)
        os._exit(UNUSABLE)
    runtime.run(side, sockets)


if __name__ == "__main__":
    main()
