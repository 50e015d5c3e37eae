"""`python -m kserve_v2` is the command `kserve-v2`."""

from kserve_v2.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
