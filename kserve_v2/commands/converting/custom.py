"""Archives with a handler of their own: served as they are, or as a beginning of a handler of this server's."""

from pathlib import Path

from kserve_v2_child.torchserve.manifest import FOLDER

from kserve_v2.commands.command import CommandError
from kserve_v2.commands.converting.content import Content, classes_of, functions_of
from kserve_v2.commands.converting.handlers import in_docstring, rendered
from kserve_v2.commands.converting.result import Result
from kserve_v2.commands.converting.settings import settings_lines
from kserve_v2.repository.reading.layout import HANDLER

_OLD_HANDLER = "torchserve_handler"


def as_it_is(content: Content, why: str) -> Result:
    """The archive itself, for the backend that runs TorchServe's handlers. `why`: the reason for it."""
    files: dict[str, Path | str]
    if content.source.is_dir():
        archive, files = FOLDER, {**content.whole()}
    else:
        archive = "model.tar.gz" if content.source.name.endswith("gz") else "model.mar"
        files = {archive: content.source}
    result = Result(
        f"The archive as it is, run by the backend `torchserve`: {why}.",
        f'backend: "torchserve"\ndefault_model_filename: "{archive}"\n',
        files,
        ["body: BYTES, what was posted", "prediction: BYTES, what the handler has answered"],
    )
    result.decisions.append(
        "The handler: as it is, it takes bytes and gives bytes. For tensors with names, datatypes and shapes it has to "
        "be moved to a class of this server's: --skeleton makes a beginning of one."
    )
    return result


def skeleton(content: Content, name: str) -> Result:
    """A beginning of a handler, beside the one that is to be moved. It cannot be loaded before that is done."""
    manifest, files = content.manifest, content.files()
    own = next((file for file in (content.handler, f"{content.handler}.py") if file in files), "")
    result = Result(f"A beginning of a handler, {HANDLER}. It is not served before it is finished.")
    old = own
    for file, path in files.items():
        place = file
        if file == HANDLER:
            # The name is taken.
            place = f"{_OLD_HANDLER if file == own else 'network_definition'}.py"
            if place in files:
                raise CommandError(
                    f"{content.source.name}: it has {HANDLER} and {place}, and one has to be renamed"
                )
            result.decisions.append(f"{place} was called {HANDLER}: what imports it has to be changed.")
            old = place if file == own else old
        result.files[place] = path
    result.files[HANDLER] = rendered(
        "skeleton.py.in",
        NAME=name,
        ARCHIVE=in_docstring(content.source.name),
        HANDLER=in_docstring(old or f"TorchServe's {manifest.handler}"),
    )
    result.config = f'backend: "python"\n{settings_lines(content, result)}\n'
    result.decisions.insert(0, _what_to_move(content, own, old))
    result.decisions.insert(
        1, "Inputs and outputs: their names, datatypes and shapes, in place of `body` and `prediction`."
    )
    return result


def _what_to_move(content: Content, own: str, old: str) -> str:
    if not own:
        return f"The handler: what TorchServe's {content.manifest.handler} did is to be written in {HANDLER}."
    file = content.files()[own]
    classes = classes_of(file)
    of = classes[0] if len(classes) == 1 else ""
    names = ", ".join(functions_of(file, of)) or "nothing that could be read"
    where = f"class {of}" if of else "the module"
    return f"The handler: move what {where} of {old} does ({names}) into {HANDLER}."
