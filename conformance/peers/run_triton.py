"""Run the suite against the real tritonserver, which the wheel `nvidia-pytriton` carries: Linux on x86-64 only.

The wheel has the server and its Python backend, for CPUs. Nothing of the wheel's own Python package is used.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from peer import Command, Peer, Place, main

STUB = "triton_python_backend_stub"


def prepare(place: Place) -> None:
    """Put the stub of this Python beside the backend's library, where the server looks for it."""
    server = place.packages / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = server / "backends" / "python"
    shutil.copy(server / "python_backend_stubs" / version / STUB, backend / STUB)
    for program in (server / "bin" / "tritonserver", backend / STUB):
        program.chmod(0o755)


def command(place: Place) -> Command:
    """In control mode explicit, so that models can be loaded and unloaded."""
    server = place.packages / "pytriton" / "tritonserver"
    ports = {"http": place.http_port, "grpc": place.grpc_port, "metrics": place.metrics_port}
    arguments = [str(server / "bin" / "tritonserver"), "--backend-directory", str(server / "backends")]
    arguments += ["--model-repository", str(place.models), "--model-control-mode=explicit"]
    arguments += [f"--load-model={model.name}" for model in place.written if model.loaded_at_start]
    for service, port in ports.items():
        arguments += [f"--{service}-address=127.0.0.1", f"--{service}-port={port}"]
    arguments += ["--allow-gpu-metrics=false", "--exit-timeout-secs=5"]
    # Each model is a process of its own: they are patient with one another where the machine is busy.
    arguments += ["--model-load-thread-count=2", "--backend-config=python,stub-timeout-seconds=120"]
    arguments += [f"--backend-config=python,shm-region-prefix-name={shm_prefix(place)}"]
    libraries = [str(place.packages / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
    variables = {
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        # The stub takes the environment of the first python3 here; it does not read PYTHONPATH.
        "PATH": os.pathsep.join([str(place.environment / "bin"), os.environ.get("PATH", "")]),
    }
    return Command(arguments, variables)


def shm_prefix(place: Place) -> str:
    """How the names of the backend's shared memory begin, so that they can be told from those of another server."""
    return f"conformance_{place.http_port}_"


def clean_up(place: Place) -> None:
    """Remove the shared memory of a server that aborted."""
    for region in Path("/dev/shm").glob(f"{shm_prefix(place)}*"):  # noqa: S108 - POSIX shared memory, not a temporary file
        region.unlink()


if __name__ == "__main__":
    main(Peer("triton", command, prepare=prepare, clean_up=clean_up))
