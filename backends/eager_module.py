"""Import a handler file and the helper modules beside it, apart from every other import in the process.

Each load gets a package name of its own, and the handler file and its neighbours are modules of that package.
So two models may have helpers of one name, a reload runs fresh code, and nothing is put on `sys.path`.
Handler code finds its neighbours both as `from . import helper` and, as in a script, as `import helper`: the
modules of such a package get an `__import__` that looks beside the handler first. Bytecode is neither read
from nor written to the repository.
"""

import builtins
import importlib
import itertools
import re
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from typing import ClassVar

from kserve_v2.errors import InternalError, InvalidArgumentError, describe

_serial = itertools.count(1)


class HandlerModule:
    """The imported handler file. `module` is gone after `close`."""

    def __init__(self, path: Path, model: str, version: int) -> None:
        """Import `path`.

        Raises InvalidArgumentError where the file is missing, InternalError with file name and line where its
        code fails.
        """
        if not path.is_file():
            raise InvalidArgumentError(f"model '{model}': version {version} has no file {path.name}")
        if path.suffix != ".py" or not path.stem.isidentifier():
            raise InvalidArgumentError(
                f"default_model_filename: expected a Python module such as model.py, got '{path.name}'"
            )
        self._directory = path.parent
        self._package = f"_handler_{next(_serial)}_{re.sub(r'[^0-9A-Za-z]', '_', model)}_{version}"
        self._enter()
        try:
            self.module: types.ModuleType = importlib.import_module(f"{self._package}.{path.stem}")
        except (Exception, SystemExit) as error:
            self.close()
            raise self.load_error(error) from error

    def load_error(self, error: BaseException) -> InternalError:
        """What to report where the handler's own code failed while it was loaded: file, line and
        exception."""
        return InternalError(f"{self._location(error)}: {describe(error)}")

    def close(self) -> None:
        """Forget the modules of this load."""
        _FINDER.loaders.pop(self._package, None)
        # Of a copy: other models are imported by other threads meanwhile.
        for name in list(sys.modules):
            if name.partition(".")[0] == self._package:
                sys.modules.pop(name, None)

    def _enter(self) -> None:
        package = types.ModuleType(self._package)
        package.__path__ = [str(self._directory)]
        _FINDER.loaders[self._package] = _loader(self._package, self._directory)
        _FINDER.install()
        sys.modules[self._package] = package

    def _location(self, error: BaseException) -> str:
        """The innermost line of the handler's own files that took part in `error`."""
        if isinstance(error, SyntaxError) and error.filename:
            return f"{self._relative(error.filename)}, line {error.lineno}"
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(self._directory)]
        return f"{self._relative(own[-1].filename)}, line {own[-1].lineno}" if own else "handler"

    def _relative(self, filename: str) -> str:
        path = Path(filename)
        return str(path.relative_to(self._directory)) if path.is_relative_to(self._directory) else path.name


class _Finder:
    """Finds the modules of all loads, whose loaders it has by package.

    Stands on `sys.meta_path` for good: other threads go through that list while they import, and would pass over
    an entry if one before it were taken out.
    """

    def __init__(self) -> None:
        self.loaders: dict[str, type[_SourceLoader]] = {}
        self._lock = threading.Lock()

    def install(self) -> None:
        """Stand in front: the interpreter's own finder would take a package's path for an ordinary one."""
        with self._lock:
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of `fullname` if it belongs to a load."""
        loader = self.loaders.get(fullname.partition(".")[0])
        if loader is None or path is None:
            return None
        for entry in path:
            finder = FileFinder(entry, (ExtensionFileLoader, EXTENSION_SUFFIXES), (loader, [".py"]))
            if spec := finder.find_spec(fullname):
                return spec
        return None


class _SourceLoader(SourceFileLoader):
    """Runs a source file without bytecode files, with the `__import__` of its load."""

    module_builtins: ClassVar[Mapping[str, object]]

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        code: types.CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        # CPython takes the `__import__` of an import statement from the `__builtins__` of the module that has
        # it.
        module.__dict__["__builtins__"] = self.module_builtins
        super().exec_module(module)


_FINDER = _Finder()


def _loader(package: str, directory: Path) -> type[_SourceLoader]:
    """The loader of one load's modules."""
    importer = _importer(package, _neighbours(directory))

    class Loader(_SourceLoader):
        module_builtins: ClassVar = {**vars(builtins), "__import__": importer}

    return Loader


def _neighbours(directory: Path) -> frozenset[str]:
    """Names importable from `directory`. A folder counts only with an __init__.py: data folders are no
    modules."""
    names = {path.name.partition(".")[0] for path in directory.glob("*.py")}
    names |= {
        path.name.partition(".")[0] for suffix in EXTENSION_SUFFIXES for path in directory.glob(f"*{suffix}")
    }
    names |= {path.parent.name for path in directory.glob("*/__init__.py")}
    return frozenset(names)


def _importer(package: str, neighbours: frozenset[str]) -> Callable[..., types.ModuleType]:
    """An `__import__` that takes an absolute import of a neighbour for one inside `package`."""

    def import_beside_handler(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the built-in's own names
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        top = name.partition(".")[0]
        if level or top not in neighbours:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{top}"]

    return import_beside_handler
