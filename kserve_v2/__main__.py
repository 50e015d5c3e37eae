"""`python -m kserve_v2`, and the program `kserve-v2`: the command line, which SIGINT ends without a traceback."""

import signal

_INTERRUPTED = 130  # as a shell has it for a program that SIGINT has ended


def run() -> int:
    """Run the command and return the exit status."""
    # While modules are imported there is nothing to put in order, and nobody who would catch an exception.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kserve_v2.cli import main  # noqa: PLC0415 - see above

    try:
        signal.signal(signal.SIGINT, handler)
        return main()
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(run())
