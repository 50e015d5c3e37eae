"""The layers, enforced: every import in the source is checked against the tables below."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import kserve_v2

ROOT = Path(__file__).resolve().parent.parent

# Top to bottom. A module, or package, imports from rows below its own, never from its own row or above.
LAYERS = (
    "__main__",
    "cli | testing",
    "embedded",
    "commands",
    "tuning",
    "bench",
    "server",
    "processes",
    "front_ends | startup",
    "ui | torchserve_api | v1",
    "rest | rpc",
    "inference | checking | deflate | forms | json_data | known_answers",
    "repository",
    "scheduling | packages | plugins | handlers",
    "isolation",
    "environments",
    "backend | logs | torchserve",
    "messages | settings",
    "caching | client | config | http2 | metrics | tracing",
    "memory",
    "archiving | net | protobuf_json | tensors | plain_text | regular_files | unpacking",
    "acceptance | errors | _generated | templates | verbatim",
)

# These are further restricted, to the importers named here.
ONLY_IMPORTED_BY = {
    "kserve_v2.settings": {
        "settings",
        "__init__",
        "embedded",
        "cli",
        "commands",
        "server",
        "processes",
        "front_ends",
        "startup",
        "logs",
    },  # everything else is handed what it needs
    "kserve_v2._generated.grpc_service_pb2": {"client", "rpc", "bench"},  # protocol objects stop at the codec
    "fastapi": {"rest", "ui", "v1"},
    "starlette": {"front_ends", "processes", "rest", "net", "server", "torchserve_api", "ui", "v1"},
    "uvicorn": {"rest", "net"},
    "python_multipart": {"net"},
    "grpc": {"client", "rpc", "bench"},
    "httpx": {"client"},
    "hpack": set(),  # the tests' oracle
    "opentelemetry": {"tracing"},
    "redis": {"caching"},
    "fsspec": {"repository"},
}

# What a backend may know of the server; a third party's plug-in gets no more than ours.
BACKEND_CONTRACT = {
    "kserve_v2.backend",
    "kserve_v2.errors",
    "kserve_v2.handlers",
    "kserve_v2.messages",
    "kserve_v2.tensors.datatypes",
    "kserve_v2.memory.own",
    "kserve_v2.torchserve",
    "kserve_v2.verbatim",
}

FRAMEWORKS = {"torch", "onnxruntime", "onnx", "safetensors", "kserve_v2_backends", "backends"}

# What runs in a model's process has that, and the standard library: the interpreter is the model's own. `ml_dtypes` is
# used where it is.
CHILD_IMPORTS = {"numpy", "ml_dtypes", "orjson", "child", "kserve_v2_child"}
# What handlers of TorchServe's import, which are there for torch.
CHILD_FOR_TORCH = ROOT / "child" / "torchserve" / "modules"
TORCH_IMPORTS = CHILD_IMPORTS | {"ts", "torch", "PIL", "captum", "onnxruntime", "yaml"}
# This one runs where the server is installed.
CHILD_OF_OUR_INTERPRETER = "host_backend.py"
CHILD_PYTHON = (3, 9)
DESERIALIZERS = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}

# Names that `import kserve_v2` offers.
PUBLIC_NAMES = {
    "BF16", "BOOL", "BYTES", "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32",
    "UINT64",
    "Image", "Json", "Text",
    "Answer", "Context", "Model", "Request",
    "archive_model", "archive_workflow", "model", "serve", "Server", "Settings", "SettingsError", "StartupError",
    "InternalError", "InvalidArgumentError", "NotFoundError", "PermissionDeniedError", "RequestCancelledError",
    "ResourceExhaustedError", "ServingError", "UnauthenticatedError", "UnavailableError", "UnsupportedError",
}  # fmt: skip


class Import(NamedTuple):
    path: Path
    line: int
    module: str
    """Dotted and absolute; `from a import b` counts as `a.b`."""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


def sources(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "_generated" not in path.parts
    )


def imports(path: Path) -> Iterator[Import]:
    """Every import in a file."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for line, module in read_imports(path.read_text(encoding="utf-8"), package):
        yield Import(path, line, module)


def read_imports(code: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and module of every import in `code`, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, _in_tree(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, _in_tree(f"{module}.{alias.name}")) for alias in node.names)


def _in_tree(module: str) -> str:
    """By the folder's name, where it is another one than that of the package."""
    return "child" + module.removeprefix("kserve_v2_child") if within(module, "kserve_v2_child") else module


def unit(path: Path) -> str:
    """The row entry that a file of `kserve_v2` belongs to: its package or, at top level, its own name."""
    return path.relative_to(ROOT / "kserve_v2").parts[0].removesuffix(".py")


def within(module: str, parent: str) -> bool:
    return module == parent or module.startswith(parent + ".")


def module_name(path: Path) -> str:
    """Dotted, as `Import.module` has it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph(files: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """For each file, by its module's name, the files that it imports or takes names from."""
    graph: dict[str, set[str]] = {}
    for name, modules in files.items():
        # `a.b` is the file `a.b`, or a name in the file `a`.
        found = {module if module in files else module.rpartition(".")[0] for module in modules}
        graph[name] = found & files.keys()
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of files each of which imports all others, at first or second hand."""
    reached = {name: reachable(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }
    return sorted(map(sorted, groups))


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


LEVELS = {name: level for level, row in enumerate(LAYERS) for name in row.split(" | ")}
SERVER_IMPORTS = [found for path in sources("kserve_v2") for found in imports(path)]
BACKEND_IMPORTS = [found for path in sources("backends") for found in imports(path)]
CHILD_FILES = sources("child")
CHILD = [found for path in CHILD_FILES for found in imports(path)]


def test_every_module_has_a_layer() -> None:
    units = {unit(path) for path in sources("kserve_v2")} - {"__init__"}
    assert sorted(units - set(LEVELS)) == []


def test_modules_import_only_from_layers_below() -> None:
    wrong = []
    for found in SERVER_IMPORTS:
        importer, (top, _, rest) = unit(found.path), found.module.partition(".")
        target = rest.partition(".")[0]
        if (
            top == "kserve_v2"
            and target
            and importer not in (target, "__init__")
            and LEVELS[importer] >= LEVELS[target]
        ):
            wrong.append(str(found))
    assert wrong == []


def test_no_files_import_each_other_in_a_circle() -> None:
    files = {
        module_name(path): [found.module for found in imports(path)]
        for path in sources("kserve_v2", "backends", "child")
    }
    graph = import_graph(files)
    assert circles(graph) == []
    # Every import of ours has been found, or the graph would have gaps.
    ours = {"kserve_v2", "backends", "kserve_v2_backends", "child", "kserve_v2_child"}
    unknown = {
        module
        for modules in files.values()
        for module in modules
        if module.partition(".")[0] in ours
        and "_generated" not in module
        and module not in files
        and module.rpartition(".")[0] not in files
    }
    assert unknown == set()


def test_circles_are_found_however_the_import_is_hidden() -> None:
    hidden = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from p.upper import Upper
"""
    late = """
def inner():
    from .lower import Lower
"""
    code = {
        "p": "",
        "p.lower": hidden,
        "p.upper": late,
        "p.alone": "from p.lower import Lower",
        "q": "import r",
        "r": "from s import anything",
        "s": "from q import anything",
    }
    files = {name: [module for _, module in read_imports(text, ("p",))] for name, text in code.items()}
    assert circles(import_graph(files)) == [["p.lower", "p.upper"], ["q", "r", "s"]]
    del files["s"]
    assert circles(import_graph(files)) == [["p.lower", "p.upper"]]


@pytest.mark.parametrize("module", sorted(ONLY_IMPORTED_BY))
def test_restricted_modules_are_imported_only_where_they_belong(module: str) -> None:
    allowed = ONLY_IMPORTED_BY[module]
    assert [str(f) for f in SERVER_IMPORTS if within(f.module, module) and unit(f.path) not in allowed] == []


def test_the_server_imports_no_framework_and_no_backend() -> None:
    assert [str(f) for f in SERVER_IMPORTS if f.module.partition(".")[0] in FRAMEWORKS] == []


def test_backends_import_only_the_contract() -> None:
    wrong = [
        str(found)
        for found in BACKEND_IMPORTS
        if within(found.module, "kserve_v2")
        and not any(within(found.module, allowed) for allowed in BACKEND_CONTRACT)
    ]
    assert wrong == []


def test_what_runs_in_a_model_s_process_needs_numpy_alone() -> None:
    wrong = []
    for path in CHILD_FILES:
        for found in imports(path):
            top = found.module.partition(".")[0]
            ours = top in ("kserve_v2", "google") and path.name == CHILD_OF_OUR_INTERPRETER
            allowed = TORCH_IMPORTS if CHILD_FOR_TORCH in path.parents else CHILD_IMPORTS
            if not ours and top not in allowed | sys.stdlib_module_names:
                wrong.append(str(found))
    assert wrong == []


@pytest.mark.parametrize("path", CHILD_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_runs_in_a_model_s_process_is_written_for_old_interpreters(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=CHILD_PYTHON)


def test_every_package_is_in_the_wheel() -> None:
    """`test_packaging` looks into the wheel itself, which takes long."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed_as = {"kserve_v2": "kserve_v2", "backends": "kserve_v2_backends", "child": "kserve_v2_child"}
    found = {
        ".".join((name, *path.parent.relative_to(ROOT / folder).parts))
        for folder, name in installed_as.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    # To the wheel, templates are data.
    assert sorted(found - set(project["tool"]["setuptools"]["packages"])) == ["kserve_v2.templates"]


def test_the_conformance_suite_knows_no_server() -> None:
    wrong = [
        f
        for path in sources("conformance/kserve_v2_conformance", "conformance/tests")
        for f in imports(path)
        if within(f.module, "kserve_v2")
    ]
    assert list(map(str, wrong)) == []


def test_nothing_is_unpickled() -> None:
    found = [
        f for f in (*SERVER_IMPORTS, *BACKEND_IMPORTS, *CHILD) if f.module.partition(".")[0] in DESERIALIZERS
    ]
    # One module changes what pickles find that handlers read. The other reads them where the operator allows that.
    assert {(str(f.path.relative_to(ROOT)), f.module) for f in found} == {
        ("backends/eager/lookup.py", "pickle"),
        ("backends/mlserver/packages/mlserver/pickles.py", "joblib"),
    }


@pytest.mark.parametrize("path", sources("backends"), ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_load_reads_weights_only(path: Path) -> None:
    """But where the operator allows pickles in `.pt2` files."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = [
        call
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "_unpickled_as_python_does"
        for call in ast.walk(function)
    ]
    assert not allowed or path == ROOT / "backends" / "pytorch" / "exported" / "tensors.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load" and node not in allowed:
            assert "weights_only=True" in map(ast.unparse, node.keywords), f"{path.name}:{node.lineno}"


def test_the_server_never_sleeps() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("kserve_v2")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"
    ]
    assert wrong == []
    assert [str(found) for found in SERVER_IMPORTS if found.module == "time.sleep"] == []


def test_the_public_names_are_these() -> None:
    assert set(kserve_v2.__all__) == PUBLIC_NAMES
    assert set(dir(kserve_v2)) >= PUBLIC_NAMES
    assert all(hasattr(kserve_v2, name) for name in PUBLIC_NAMES)
    assert not hasattr(kserve_v2, "Images")
    tree = ast.parse((ROOT / "kserve_v2" / "__init__.py").read_text(encoding="utf-8"))
    for_checkers = [node for part in tree.body if isinstance(part, ast.If) for node in part.body]
    names: set[str] = set()
    for node in [*tree.body, *for_checkers]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(ast.unparse(target) for target in node.targets)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    # What type checkers see is what there is.
    assert {name for name in names if not name.startswith("_")} == PUBLIC_NAMES | {
        "Any", "TYPE_CHECKING", "importlib"
    }  # fmt: skip


def test_every_public_name_says_what_it_is() -> None:
    without = [name for name in PUBLIC_NAMES if not getattr(kserve_v2, name).__doc__]
    # Types for annotations say it together.
    assert [name for name in without if name not in ("Image", "Json", "Text")] == []


@pytest.mark.slow
def test_who_imports_the_package_gets_little_of_it() -> None:
    code = (
        "import sys, kserve_v2; before = set(sys.modules); kserve_v2.Image, kserve_v2.Context; "
        "print(*sorted(name for name in before if name.startswith('kserve_v2') or name == 'numpy')); "
        "print(*sorted(name for name in ('fastapi', 'grpc', 'torch', 'PIL', 'uvicorn') if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == ["kserve_v2 kserve_v2.errors", ""]


def test_the_reader_of_imports_sees_all_of_them() -> None:
    code = """
import a.b, c as d
from . import e
from .f import g
from ..h import i
def inner():
    from k import l
"""
    found = [module for _, module in read_imports(code, ("kserve_v2", "rest"))]
    assert found == ["a.b", "c", "kserve_v2.rest.e", "kserve_v2.rest.f.g", "kserve_v2.h.i", "k.l"]
