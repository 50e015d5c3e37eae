"""The variables of an environment's processes: what activating it in a shell would set.

They are computed here. No shell is started, and no script of the environment's is run for it: not `bin/activate`, and
not the `etc/conda/activate.d/*.sh` that some conda packages bring, which `activation_scripts` lists so that they can be
named in the log.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# Variables of the server's process that are not passed on: they say where packages, or the standard library, of another
# interpreter are. An environment is there to be independent of those.
_OF_ANOTHER_INTERPRETER = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONUSERBASE",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "CONDA_PROMPT_MODIFIER",
    "CONDA_SHLVL",
)


def is_venv(prefix: Path) -> bool:
    """Whether a directory is a virtual environment as `python -m venv`, virtualenv and uv make them."""
    return (prefix / "pyvenv.cfg").is_file()


def activated(prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """All variables of a process of the environment in `prefix`. `environ`: those of the server's process."""
    variables = {name: value for name, value in environ.items() if name not in _OF_ANOTHER_INTERPRETER}
    variables["PATH"] = _prepended(prefix / "bin", environ.get("PATH", os.defpath))
    # Packages in the home directory of whoever runs the server do not belong to the environment.
    variables["PYTHONNOUSERSITE"] = "1"
    if is_venv(prefix):
        variables["VIRTUAL_ENV"] = str(prefix)
    else:
        variables["CONDA_PREFIX"] = str(prefix)
        # As Triton does: or what the server has in the variable could be found before the environment's own libraries.
        variables["LD_LIBRARY_PATH"] = _prepended(prefix / "lib", environ.get("LD_LIBRARY_PATH", ""))
    return variables


def _prepended(directory: Path, path: str) -> str:
    return f"{directory}{os.pathsep}{path}" if path else str(directory)


def activation_scripts(prefix: Path) -> Sequence[str]:
    """The names of the scripts that activating a conda environment would run."""
    return sorted(path.name for path in (prefix / "etc" / "conda" / "activate.d").glob("*.sh"))
