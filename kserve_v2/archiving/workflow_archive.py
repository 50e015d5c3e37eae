"""An archive of a workflow: which models and functions it is made of, and in which order they are called."""

import os
from collections.abc import Iterable
from pathlib import Path

from kserve_v2.archiving.containers import write_zip
from kserve_v2.archiving.manifest import WORKFLOW_MANIFEST, check_name, manifest_text
from kserve_v2.archiving.members import Members, split_list
from kserve_v2.archiving.model_archive import export_target

AnyPath = str | os.PathLike[str]


def archive_workflow(
    workflow_name: str,
    *,
    spec_file: AnyPath,
    handler: AnyPath | None = None,
    extra_files: str | Iterable[AnyPath] = (),
    export_path: AnyPath = ".",
    force: bool = False,
) -> Path:
    """Write an archive of a workflow, NAME.war, as `torch-workflow-archiver` does, and return where it is.

    `spec_file`: the YAML file with its models and their order. `handler`: the Python file with the functions that are
    among its nodes, if any is. Raises InvalidArgumentError for what cannot be archived, OSError where it cannot be
    written.
    """
    check_name(workflow_name, "workflow_name")
    target = export_target(Path(export_path), f"{workflow_name}.war", force=force)
    members = Members(WORKFLOW_MANIFEST.partition("/")[0])
    members.add(Path(spec_file), "spec_file")
    if handler:
        members.add(Path(handler), "handler")
    members.add_extra(split_list(extra_files), "extra_files")
    entries = {
        "workflowName": workflow_name,
        "specFile": Path(spec_file).name,
        # TorchServe makes a path of it even if no node is a function.
        "handler": Path(handler).name if handler else "",
    }
    write_zip(target, members.files, (WORKFLOW_MANIFEST, manifest_text("workflow", entries)))
    return target
