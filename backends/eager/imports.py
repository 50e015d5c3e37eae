"""Where the modules of a handler are found: beside it first, and apart from every other import in the process.

Each load has a package name of its own, and the handler file and its neighbours are modules of that package. So two
models may have helpers of one name, a reload runs fresh code, and nothing is put on `sys.path`. Handler code finds its
neighbours both as `from . import helper` and, as in a script, as `import helper`: the modules of such a package have
an `__import__` that looks beside the handler first. What is looked up by name while the program runs, as pickles do,
is `eager_lookup`'s. Bytecode is neither read from nor written to the repository's `__pycache__`.
"""

import builtins
import importlib.util
import os
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

from kserve_v2.handlers.modules import OWN_MODULES

_SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)

# As they are before `eager_lookup` puts something in front of them.
_find_spec = importlib.util.find_spec
_import_module = importlib.import_module


class ModuleSpace:
    """The names that one load of a handler can import. `package`: what its modules are part of. `handler`: the full
    name of the handler file's module.
    """

    def __init__(
        self,
        package: str,
        file: Path,
        *,
        module: str = "",
        beside: Sequence[Path] = (),
        given: Mapping[str, types.ModuleType] | None = None,
    ) -> None:
        """`module`: the handler's, by its whole name, if the file lies in a package. `beside`: directories whose
        modules it can import as well. `given`: modules that are made for it, by name.
        """
        self.package = package
        self.file = file
        self.handler = f"{package}.{module or file.stem}"
        self.directories = (file.parents[module.count(".") + (file.name == "__init__.py")], *beside)
        self.builtins: Mapping[str, object] = {**vars(builtins), "__import__": _importer(self)}
        self.given = given or {}
        neighbours = [_neighbours(directory) for directory in self.directories]
        self._modules = frozenset(self.given).union(*(modules for modules, _ in neighbours))
        self._folders = frozenset[str]().union(*(folders for _, folders in neighbours)) - self._modules
        self._folders_meant: dict[tuple[str, tuple[str, ...]], bool] = {}

    def enter(self) -> types.ModuleType:
        """Have the modules found; returns the handler file's. Raises what that raises."""
        self.open()
        return _import_module(self.handler)

    def open(self) -> None:
        """Have the modules found."""
        package = types.ModuleType(self.package)
        package.__path__ = [str(directory) for directory in self.directories]
        SPACES[self.package] = self
        _FINDER.install()
        sys.modules[self.package] = package
        for name, module in self.given.items():
            sys.modules[f"{self.package}.{name}"] = module

    def leave(self) -> None:
        """Forget the modules."""
        SPACES.pop(self.package, None)
        # Of a copy: other models are imported by other threads meanwhile.
        for name in list(sys.modules):
            if name.partition(".")[0] == self.package:
                sys.modules.pop(name, None)

    def holds(self, name: str, attributes: Sequence[str] = ()) -> bool:
        """Whether an absolute import of `name` means what lies beside the handler. `attributes`: what is imported from
        it.
        """
        top = name.partition(".")[0]
        if top not in self._folders:
            return top in self._modules
        key = name, tuple(attributes)
        if key not in self._folders_meant:
            self._folders_meant[key] = self._means_folder(*key)
        return self._folders_meant[key]

    def _means_folder(self, name: str, attributes: Sequence[str]) -> bool:
        """As everywhere in Python, a folder without an __init__.py counts only where there is no package of its name,
        and two such folders are one package.
        """
        top, _, rest = name.partition(".")
        installed = _installed(top)
        if installed is None:
            return True
        if installed.origin is not None or installed.submodule_search_locations is None:
            return False
        parts = [rest.partition(".")[0]] if rest else attributes
        return not parts or any(self._has_part(top, part) for part in parts)

    def qualified(self, name: str) -> str:
        """The full name of the module that code of this load means by `name`."""
        return f"{self.package}.{name}" if self.holds(name) else name

    def _has_part(self, folder: str, part: str) -> bool:
        paths = [directory / folder / part for directory in self.directories]
        return any(
            path.is_dir() or any(path.with_name(part + suffix).is_file() for suffix in _SUFFIXES)
            for path in paths
        )


SPACES: dict[str, ModuleSpace] = {}
"""Those of all loads, by package."""

PREFIX = OWN_MODULES
"""What the names of all packages begin with."""


def space_of(module_name: object) -> ModuleSpace | None:
    """The load that a module is part of, by its full name."""
    return SPACES.get(module_name.partition(".")[0]) if isinstance(module_name, str) else None


def _neighbours(directory: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Names importable from `directory`: modules and packages, and folders that have no __init__.py."""
    entries = [*directory.iterdir()]
    modules = set(_modules(entry.name for entry in entries if not entry.is_dir()))
    folders: set[str] = set()
    for entry in entries:
        if entry.is_dir() and entry.name.isidentifier():
            # `os.path`, because a folder that cannot be read is no package.
            package = any(os.path.isfile(entry / f"__init__{suffix}") for suffix in _SUFFIXES)  # noqa: PTH113
            (modules if package else folders).add(entry.name)
    return frozenset(modules), frozenset(folders - modules)


def _modules(files: Iterable[str]) -> Iterator[str]:
    for file in files:
        if file.endswith(_SUFFIXES):
            yield file.partition(".")[0]


def _installed(name: str) -> ModuleSpec | None:
    """Where a top-level module or package is that every model can import."""
    try:
        return _find_spec(name)
    except ValueError:  # it is loaded, and does not know where from
        return ModuleSpec(name, None, origin="unknown")


def _importer(space: ModuleSpace) -> Callable[..., types.ModuleType]:
    """An `__import__` that takes an absolute import of a neighbour for one inside the package of its load."""

    def import_beside_handler(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the built-in's own names
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        if level or not space.holds(name, fromlist or ()):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{space.package}.{name}", globals, locals, fromlist, 0)
        _import_module(f"{space.package}.{name}")
        return sys.modules[f"{space.package}.{name.partition('.')[0]}"]

    return import_beside_handler


class _Finder:
    """Finds the modules of all loads.

    Stands on `sys.meta_path` for good: other threads go through that list while they import, and would pass over
    an entry if one before it were taken out.
    """

    def __init__(self) -> None:
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
        if path is None or space_of(fullname) is None:
            return None
        for entry in path:
            finder = FileFinder(
                entry,
                (ExtensionFileLoader, EXTENSION_SUFFIXES),
                (_SourceLoader, SOURCE_SUFFIXES),
                (_SourcelessLoader, BYTECODE_SUFFIXES),
            )
            if spec := finder.find_spec(fullname):
                return spec
        return None


_FINDER = _Finder()


class _SourceLoader(SourceFileLoader):
    """Runs a source file without bytecode files, with the `__import__` of its load."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        code: types.CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        _take_import(module)
        super().exec_module(module)


class _SourcelessLoader(SourcelessFileLoader):
    """Runs bytecode that lies in the place of a source file."""

    def exec_module(self, module: types.ModuleType) -> None:
        _take_import(module)
        super().exec_module(module)


def _take_import(module: types.ModuleType) -> None:
    # CPython takes the `__import__` of an import statement from the `__builtins__` of the module that has it.
    space = space_of(module.__name__)
    if space is None:
        raise ImportError(f"the model of {module.__name__} has been unloaded")
    module.__dict__["__builtins__"] = space.builtins
