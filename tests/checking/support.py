"""Making a repository of texts, and checking it."""

import os
from pathlib import Path

from kserve_v2.checking.check import RepositoryCheck
from kserve_v2.checking.findings import Finding
from kserve_v2.checking.unwise import Machine
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.preparing.options import RepositoryOptions
from tests.checking.broken import Case, Files, Link, Pipe

REGISTRY = BackendRegistry()


def write(root: Path, files: Files) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, Link):
            path.symlink_to(content)
        elif isinstance(content, Pipe):
            os.mkfifo(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")


def check(root: Path, case: Case) -> tuple[int, list[Finding]]:
    """What is found in a repository in the working directory."""
    write(root, case.files)
    options = RepositoryOptions((Path(os.path.relpath(root)),), opens_files=False)
    models, findings = RepositoryCheck(options, REGISTRY, Machine(*case.machine)).check_all()
    return len(models), findings
