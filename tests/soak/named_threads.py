"""`python -m tests.soak.named_threads serve …`: the server, whose threads the operating system knows by their names.

Of a pool's thread the name begins with `POOL`. Threads that a library starts for itself are called like the thread that
has started them.
"""

import runpy
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

POOL = "pool:"

ROOT = Path(__file__).resolve().parents[2]
NAMED_THREADS = ("tests.soak.named_threads", "serve")
"""What to run in the folder `ROOT`; see `launch`."""

# No more fits into a name there; the number of a pool's thread is at the end.
_MAX_BYTES = 15

_run: Any = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]


def _named(thread: Any) -> None:
    prefix = POOL if getattr(thread._target, "__module__", "") == "concurrent.futures.thread" else ""
    name = prefix + thread.name.encode()[len(prefix) - _MAX_BYTES :].decode(errors="ignore")
    with suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
    _run(thread)


def name_threads() -> None:
    """From now on, tell the operating system the name of each thread that begins."""
    threading.Thread._bootstrap_inner = _named  # type: ignore[attr-defined]


if __name__ == "__main__":
    name_threads()
    runpy.run_module("kserve_v2", run_name="__main__", alter_sys=True)
