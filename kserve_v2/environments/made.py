"""Environments that the server makes: of the requirements.txt beside a model."""

import logging
import platform
import sys
import sysconfig
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from kserve_v2.environments.behind import add_hook
from kserve_v2.environments.commands import run
from kserve_v2.environments.installers import choose, installing
from kserve_v2.environments.requirements import Requirements
from kserve_v2.environments.store import Store

logger = logging.getLogger(__name__)

_DIGEST_CHARACTERS = 32


def stored_name(requirements: Requirements) -> str:
    """The name of its environment among those that are kept."""
    return f"venv-{requirements.digest[:_DIGEST_CHARACTERS]}"


def make(requirements: Requirements, model: str, store: Store, environ: Mapping[str, str]) -> Path:
    """Make the environment, unless somebody else does: a virtual environment of the server's own Python, with what the
    requirements name. Raises InvalidArgumentError with what the installer has said.
    """
    about = {
        "made_from": str(requirements.path.absolute()),
        "model": model,
        "python": platform.python_version(),
    }
    waiting = f"model '{model}': waiting for its environment"
    return store.make(
        stored_name(requirements), partial(_install, requirements, model, environ), about, waiting
    )


def _install(
    requirements: Requirements, model: str, environ: Mapping[str, str], prefix: Path, lock: BinaryIO
) -> None:
    logger.info("model '%s': making its environment of %s", model, requirements.path.name)
    started_s = time.monotonic()
    environ = installing(environ)
    venv = [sys.executable, "-m", "venv", "--without-pip", str(prefix)]
    # Installers look for local files from where they run.
    place = requirements.path.absolute().parent
    run(venv, f"model '{model}': venv", environ, place, lock)
    python = prefix / "bin" / "python"
    if not requirements.empty:
        installer = choose(python, requirements.path.absolute(), environ)
        what = f"model '{model}': {installer.name}"
        if installer.prepare:
            run(installer.prepare, what, environ, place, lock)
        run(installer.command, what, environ, place, lock)
    scheme = {"base": str(prefix), "platbase": str(prefix)}
    add_hook(Path(sysconfig.get_path("purelib", "venv", scheme)))
    logger.info("model '%s': environment made in %.1f s", model, time.monotonic() - started_s)
