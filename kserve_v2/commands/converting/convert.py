"""From an archive of TorchServe's to the folder of a model."""

import shlex
import shutil
import tempfile
from pathlib import Path

from kserve_v2_child.torchserve.manifest import ManifestError, read_manifest

from kserve_v2.archiving.manifest import BUILT_IN_HANDLERS
from kserve_v2.commands.command import CommandError
from kserve_v2.commands.converting.content import REQUIREMENTS, Content, read_names
from kserve_v2.commands.converting.custom import as_it_is, skeleton
from kserve_v2.commands.converting.handlers import NotConvertibleError, converted_handler, in_docstring
from kserve_v2.commands.converting.networks import converted_base
from kserve_v2.commands.converting.result import REPORT, Result, report_text
from kserve_v2.commands.making.publish import check_name, staging
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.reading.layout import CONFIG
from kserve_v2.tensors.written import Tensors
from kserve_v2.torchserve.archives import lay_out
from kserve_v2.torchserve.model_config import read_model_yaml

_HANDLERS = ("image_classifier", "image_segmenter", "object_detector", "text_classifier")


def convert(source: Path, repository: Path, name: str, tensors: Tensors, *, as_skeleton: bool) -> str:
    """Make a model of an archive; returns what is to be said of it. `name`: the model's, "" for that in the archive.
    `tensors`: what a person says of them. `as_skeleton`: a handler is to be moved, and not run as it is. Raises
    CommandError, UsageError.
    """
    if not source.exists():
        raise CommandError(f"{source} does not exist")
    with tempfile.TemporaryDirectory(prefix="kserve-v2-convert-") as unpacked:
        try:
            content = _content(source, Path(unpacked) / "archive")
        except InvalidArgumentError as error:
            raise CommandError(error.message) from None
        name = name or content.manifest.model_name or source.name.partition(".")[0]
        check_name(name)
        result = _result(content, name, tensors, as_skeleton=as_skeleton)
        _add_requirements(content, result)
        _add_version(content, result)
        report = report_text(name, source.name, result)
        with staging(repository, [name]) as folder:
            _write(folder / name, content, result, report)
    commands = (["kserve-v2", "check", str(repository), name], ["kserve-v2", "serve", str(repository)])
    lines = [f"made {repository / name}; this is in its {REPORT}, too:", "", report, "next:"]
    return "\n".join([*lines, *(f"  {shlex.join(command)}" for command in commands)])


def _result(content: Content, name: str, tensors: Tensors, *, as_skeleton: bool) -> Result:
    handler = content.manifest.handler
    if not handler:
        raise CommandError(f"{content.source.name}: its manifest names no handler")
    if any(tensors) and handler != "base_handler":
        raise CommandError(
            f"--input and --output belong to archives with base_handler, and this one has {handler}"
        )
    try:
        converted = None
        if handler == "base_handler":
            converted = converted_base(content, name, tensors)
        elif handler in _HANDLERS:
            converted = converted_handler(content, name)
        if converted is not None:
            if as_skeleton:
                raise CommandError(
                    f"--skeleton: {content.source.name} has {handler}, which is converted as a whole: leave it out"
                )
            return converted
        why = "it has a handler of its own"
    except NotConvertibleError as error:
        why = str(error)
    if handler in BUILT_IN_HANDLERS and handler not in _HANDLERS and not as_skeleton:
        raise CommandError(
            f"{content.source.name}: TorchServe's {handler} is not served here; --skeleton makes a beginning of a "
            "handler that does what it did"
        )
    return skeleton(content, name) if as_skeleton else as_it_is(content, why)


def _content(source: Path, into: Path) -> Content:
    """What lies in an archive, unpacked, or copied if it is a folder. Raises CommandError, InvalidArgumentError."""
    try:
        folder = lay_out(source, into, source.name)
        manifest = read_manifest(folder)
        settings = {}
        if manifest.config_file and (folder / manifest.config_file).is_file():
            settings = read_model_yaml(folder / manifest.config_file, manifest.config_file)
    except ManifestError as error:
        raise CommandError(f"{source.name}: {error}") from None
    except OSError as error:
        raise CommandError(f"{source.name} cannot be unpacked: {error.strerror or error}") from None
    return Content(source, folder, manifest, settings, read_names(folder))


def _add_requirements(content: Content, result: Result) -> None:
    name = content.manifest.requirements_file
    if name and name in content.whole():
        result.files[REQUIREMENTS] = content.folder / name
        result.decisions.append(
            f"{REQUIREMENTS}: it is installed for the model if the server has --model-environments DIR, or "
            'config.pbtxt the parameter "install_requirements": "true". Without that, what it names has to be '
            "installed where the server is."
        )


def _add_version(content: Content, result: Result) -> None:
    given = content.manifest.model_version
    if given and given.removesuffix(".0") != str(content.version):
        result.differences.append(f"Version {given} became {content.version}: versions are whole numbers.")


def _write(model: Path, content: Content, result: Result, report: str) -> None:
    version = model / str(content.version)
    version.mkdir(parents=True)
    for name, origin in result.files.items():
        place = version / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(origin, str):
            place.write_text(origin, encoding="utf-8")
        elif origin.is_relative_to(content.folder):
            # It was unpacked for this.
            shutil.move(origin, place)
        else:
            shutil.copy2(origin, place)
    head = f"# {model.name}, converted from {in_docstring(content.source.name)}: see {REPORT}.\n"
    (model / CONFIG).write_text(head + result.config, encoding="utf-8")
    (model / REPORT).write_text(report, encoding="utf-8")
