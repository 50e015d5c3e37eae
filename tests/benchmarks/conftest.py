"""`benchmarks` is no installed package: it is found from the root of the checkout, however pytest was started."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
