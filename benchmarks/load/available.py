"""The choice among the load generators that this machine has."""

import shutil
from pathlib import Path

from benchmarks.load.builtin import Builtin
from benchmarks.load.exchange import GrpcExchange, RestExchange
from benchmarks.load.generator import Generator
from benchmarks.load.h2load import H2load
from benchmarks.load.wrk import Wrk


def rest_generator(work_directory: Path, *, builtin: bool) -> Generator[RestExchange]:
    """wrk where it is installed, unless the built-in generator is asked for."""
    return Builtin() if builtin or shutil.which("wrk") is None else Wrk(work_directory)


def grpc_generator(work_directory: Path, *, builtin: bool) -> Generator[GrpcExchange]:
    """h2load where it is installed, unless the built-in generator is asked for."""
    return Builtin() if builtin or shutil.which("h2load") is None else H2load(work_directory)
