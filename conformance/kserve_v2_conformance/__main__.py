"""`python -m kserve_v2_conformance` is the command `conformance`."""

import sys

from kserve_v2_conformance.cli import main

if __name__ == "__main__":
    sys.exit(main())
