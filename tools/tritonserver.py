"""Run the real tritonserver, which the wheel `nvidia-pytriton` carries, as a judge of this project's expectations.

    python tools/tritonserver.py install           make `.venv-triton`, unless it is there
    python tools/tritonserver.py run [FLAGS ...]   become tritonserver, with these flags

Linux on x86-64 with glibc 2.35 or newer only. The wheel has the server and its Python backend, for CPUs: no other
backend. Nothing of the wheel's own Python package is used, so its dependencies are not installed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-triton"
# tritonserver 2.51.0. Its backend was built for the C interface of numpy 1.
REQUIREMENTS = ("nvidia-pytriton==0.7.0", "numpy<2")
_DIRECTORIES = {"backend": "backends", "cache": "caches"}


def install() -> None:
    """Make the environment if it is missing or out of date. Raises CalledProcessError if pip fails."""
    stamp = ENVIRONMENT / "requirements.stamp"
    wanted = "\n".join(REQUIREMENTS)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    python = str(ENVIRONMENT / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, *REQUIREMENTS], check=True)  # noqa: S603 - our own requirements
    _prepare(_packages())
    stamp.write_text(wanted)


def _packages() -> Path:
    """Where the environment's packages are."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return ENVIRONMENT / "lib" / python / "site-packages"


def _prepare(packages: Path) -> None:
    """Put the stub of this Python beside the backend's library, where the server looks for it."""
    server = packages / "pytriton" / "tritonserver"
    stub = "triton_python_backend_stub"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(server / "python_backend_stubs" / version / stub, server / "backends" / "python" / stub)
    for program in (server / "bin" / "tritonserver", server / "backends" / "python" / stub):
        program.chmod(0o755)


def environment(packages: Path) -> dict[str, str]:
    """Variables under which the server finds its libraries, and its models Python and the environment's packages."""
    libraries = [str(packages / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        # The stub takes the environment of the first python3 here; it does not read PYTHONPATH.
        "PATH": os.pathsep.join([str(ENVIRONMENT / "bin"), os.environ.get("PATH", "")]),
    }


def run(flags: list[str]) -> None:
    """Replace this process by tritonserver."""
    packages = _packages()
    server = packages / "pytriton" / "tritonserver"
    program = server / "bin" / "tritonserver"
    directories = [f"--{kind}-directory={server / folder}" for kind, folder in _DIRECTORIES.items()]
    command = [str(program), *directories, *flags]
    os.execve(program, command, environment(packages))  # noqa: S606 - a fixed program


def main() -> None:
    """See the module's docstring."""
    match sys.argv[1:]:
        case ["install"]:
            install()
        case ["run", *flags]:
            run(flags)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
