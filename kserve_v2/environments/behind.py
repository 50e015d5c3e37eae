"""The server's packages, found behind those of an environment that was made for the server's own Python.

A file with the suffix .pth in the environment looks into a variable when an interpreter starts, and adds the
directories that it finds there to the end of `sys.path`. So what requirements.txt names wins, and what it does not
name, such as numpy, torch and `kserve_v2`, is the server's. The environment itself does not depend on any server:
several may share it, and installers, which get no such variable, do not take the server's packages for installed.
"""

import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

VARIABLE = "_KSERVE_V2_PACKAGES_BEHIND"

_NAME = "_kserve_v2_behind"
# `addsitedir` also reads the .pth files of a directory: editable installs are made of them.
_CODE = f"""\
import os, site, sys

for path in os.environ.get({VARIABLE!r}, "").split(os.pathsep):
    if path.endswith("-packages"):
        site.addsitedir(path)
    elif path and path not in sys.path:
        sys.path.append(path)
"""


def server_directories(path: Iterable[str] | None = None) -> list[str]:
    """The directories of `sys.path`, or of `path`, without those of the standard library and of scripts."""
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "scripts")}
    standard |= {str(Path(each) / "lib-dynload") for each in standard}
    found = dict.fromkeys(str(Path(each).absolute()) for each in (sys.path if path is None else path))
    return [each for each in found if each not in standard and Path(each).is_dir()]


def behind(environ: Mapping[str, str], directories: Iterable[str]) -> dict[str, str]:
    """The variables of a process, with those directories behind its own packages."""
    return {**environ, VARIABLE: os.pathsep.join(directories)}


def add_hook(site_packages: Path) -> None:
    """Make an environment look into the variable."""
    (site_packages / f"{_NAME}.py").write_text(_CODE, encoding="ascii")
    (site_packages / f"{_NAME}.pth").write_text(f"import {_NAME}\n", encoding="ascii")
