"""The server, whose workers come back soon however often they die: a soak kills them all the time."""

import sys

from kserve_v2.cli import main
from kserve_v2.isolation import delays
from tests.soak.named_threads import name_threads

if __name__ == "__main__":
    name_threads()
    delays.LONGEST_S = delays.FIRST_S
    sys.exit(main())
