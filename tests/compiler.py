"""What tests need that compile torch modules on the CPU."""

import os
import shutil

import pytest

NEEDS_COMPILER = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="torch.compile needs a C++ compiler: install g++ to run it",
)
