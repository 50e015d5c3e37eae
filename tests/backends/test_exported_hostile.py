"""Files of torch.export that torch has not written: nothing of them is executed, and each is a clear error."""

import copy
import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_backends.pytorch.exported.backend import ExportedBackend
from torch import Tensor, nn

from kserve_v2.errors import InvalidArgumentError, ServingError

pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("offset", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 1e9, torch.neg, torch.clone, (self.linear(x) + self.offset,))


def exported() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(
        Net().eval(), (torch.ones(3, 4),), dynamic_shapes={"x": {0: torch.export.Dim("b")}}
    )


@pytest.fixture(scope="module")
def program() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(exported(), buffer)
    return buffer.getvalue()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What exists once a file has had its code executed."""
    return tmp_path / "marker"


class Payload:
    """A pickle of it makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def torch_pickle(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def altered(
    content: bytes, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """The archive with other members. Their names are without the archive's own."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        root = source.namelist()[0].partition("/")[0]
        members = {name.partition("/")[2]: source.read(name) for name in source.namelist()}
    change(members)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(f"{root}/{name}", member)
    return target.getvalue()


def with_json(content: bytes, member: str, change: Callable[[Any], None]) -> bytes:
    def apply(members: dict[str, bytes]) -> None:
        document = json.loads(members[member])
        change(document)
        members[member] = json.dumps(document).encode()

    return altered(content, apply)


def with_member(content: bytes, member: str, value: bytes) -> bytes:
    return altered(content, lambda members: members.__setitem__(member, value))


def load(loader: Any, content: bytes, **settings: str) -> Any:
    source = loader.source({"model.pt2": content}, settings=settings)
    return loader.serve(ExportedBackend(), source)


def refusal(loader: Any, content: bytes) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        load(loader, content)
    return caught.value.message


def answer(served: Any) -> list[list[float]]:
    result: list[list[float]] = served.execute({"x": np.ones((2, 4), np.float32)})["OUTPUT__0"].tolist()
    return result


def test_the_program_itself_is_served(loader: Any, program: bytes) -> None:
    torch.manual_seed(0)
    expected = Net().eval()
    assert np.allclose(answer(load(loader, program)), expected(torch.ones(2, 4)).detach().numpy())


# --- pickles ----------------------------------------------------------------------------------------------------------


def test_example_inputs_are_not_read(loader: Any, program: bytes, marker: Path) -> None:
    content = with_member(program, SAMPLES, torch_pickle(((Payload(marker),), {})))
    assert answer(load(loader, content)) == answer(load(loader, program))
    assert not marker.exists()


def pickled_weight(members: dict[str, bytes], value: Any) -> None:
    document = json.loads(members[WEIGHTS])
    entry = document["config"]["linear.weight"]
    entry["use_pickle"] = True
    members["data/weights/" + entry["path_name"]] = torch_pickle(value)
    members[WEIGHTS] = json.dumps(document).encode()


def pickled_constant(members: dict[str, bytes], value: Any) -> None:
    document = json.loads(members[CONSTANTS])
    entry = document["config"]["offset"]
    entry["use_pickle"] = True
    members["data/constants/" + entry["path_name"]] = torch_pickle(value)
    members[CONSTANTS] = json.dumps(document).encode()


def whole_weights(members: dict[str, bytes], value: Any) -> None:
    members["data/weights/model.pt"] = torch_pickle(
        {"linear.weight": value, "linear.bias": nn.Parameter(torch.ones(3))}
    )


def whole_constants(members: dict[str, bytes], value: Any) -> None:
    members["data/constants/model.pt"] = torch_pickle({"offset": value})


PLACES = [
    (pickled_weight, nn.Parameter(torch.ones(3, 4))),
    (pickled_constant, torch.ones(3)),
    (whole_weights, nn.Parameter(torch.ones(3, 4))),
    (whole_constants, torch.ones(3)),
]


@pytest.mark.parametrize(("place", "_"), PLACES)
def test_a_pickle_is_not_executed_unless_the_operator_allows_it(
    loader: Any, program: bytes, marker: Path, place: Callable[[dict[str, bytes], Any], None], _: Any
) -> None:
    content = altered(program, lambda members: place(members, Payload(marker)))
    message = refusal(loader, content)
    assert "is a pickle that has more in it than tensors" in message
    assert "--backend-config=pytorch,allow-pickles=true" in message
    assert not marker.exists()
    # It would have worked: the file is hostile indeed, and does not load even then.
    with pytest.raises(InvalidArgumentError):
        load(loader, content, **{"allow-pickles": "true"})
    assert marker.exists()


@pytest.mark.parametrize(("place", "value"), PLACES)
def test_a_pickle_of_tensors_is_read(
    loader: Any, program: bytes, place: Callable[[dict[str, bytes], Any], None], value: Any
) -> None:
    content = altered(program, lambda members: place(members, value))
    if place in (whole_weights, pickled_weight):
        assert place is not whole_weights or answer(load(loader, content)) == [[6, 6, 6]] * 2
        assert place is not pickled_weight or answer(load(loader, content)) != answer(load(loader, program))
    else:
        assert answer(load(loader, content)) == answer(load(loader, program))


def test_the_setting_is_a_boolean(loader: Any, program: bytes) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"--backend-config\['allow-pickles'\]: expected true or false"
    ):
        load(loader, program, **{"allow-pickles": "perhaps"})


def old_layout(program: bytes, state: Any) -> bytes:
    """As torch wrote it before 2.8."""
    with zipfile.ZipFile(io.BytesIO(program)) as source:
        root = source.namelist()[0].partition("/")[0]
        document = source.read(f"{root}/{MODEL}")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("serialized_exported_program.json", document)
        archive.writestr("serialized_state_dict.pt", torch_pickle(state))
        archive.writestr("serialized_constants.pt", torch_pickle({"offset": torch.ones(3)}))
        archive.writestr("serialized_example_inputs.pt", b"not read")
        archive.writestr("version", "8.5")
    return target.getvalue()


def test_the_layout_of_older_versions(loader: Any, program: bytes, marker: Path) -> None:
    weights = exported().state_dict
    assert answer(load(loader, old_layout(program, dict(weights)))) == answer(load(loader, program))
    assert "is a pickle that has more in it" in refusal(
        loader, old_layout(program, {"linear.weight": Payload(marker)})
    )
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["custom_obj_0", "opaque_obj_0"])
def test_objects_are_not_made(loader: Any, program: bytes, marker: Path, kind: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        document = json.loads(members[CONSTANTS])
        document["config"]["thing"] = {
            "path_name": kind,
            "is_param": False,
            "use_pickle": True,
            "tensor_meta": None,
        }
        members[CONSTANTS] = json.dumps(document).encode()
        members[f"data/constants/{kind}"] = pickle.dumps(Payload(marker))

    assert f"the program holds an object, {kind}, which is not served" in refusal(
        loader, altered(program, change)
    )
    assert not marker.exists()


# --- what torch would evaluate, or turn into source code ------------------------------------------------------------------


def code(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def rename(document: Any, old: str, new: str) -> Any:
    """Every text that is `old`, keys included."""
    if isinstance(document, dict):
        return {new if key == old else key: rename(value, old, new) for key, value in document.items()}
    if isinstance(document, list):
        return [rename(value, old, new) for value in document]
    return new if document == old else document


def graph_of(document: Any) -> Any:
    return document["graph_module"]["graph"]


def size_of_an_input(document: Any, marker: Path) -> None:
    graph_of(document)["tensor_values"]["x"]["sizes"][0] = {
        "as_expr": {"expr_str": code(marker), "hint": None}
    }


def size_of_a_value(document: Any, marker: Path) -> None:
    graph_of(document)["tensor_values"]["linear"]["sizes"][0] = {
        "as_expr": {"expr_str": code(marker), "hint": None}
    }


def assumption_of_a_size(document: Any, marker: Path) -> None:
    text = f"Symbol('s77', positive={code(marker)})"
    graph_of(document)["tensor_values"]["linear"]["sizes"][0] = {"as_expr": {"expr_str": text, "hint": None}}


def name_of_a_size(document: Any, marker: Path) -> None:
    graph_of(document)["tensor_values"]["linear"]["sizes"][0] = {
        "as_expr": {"expr_str": f'Symbol("s77) or {code(marker)}")', "hint": None}
    }


def name_of_an_input(document: Any, marker: Path) -> None:
    document["graph_module"] = rename(document["graph_module"], "x", f"x={code(marker)}")


def name_of_a_value(document: Any, marker: Path) -> None:
    document["graph_module"] = rename(document["graph_module"], "linear", f"{code(marker)}; linear")


def name_of_a_graph(document: Any, marker: Path) -> None:
    document["graph_module"] = rename(document["graph_module"], "true_graph_0", f"a; {code(marker)}")


def name_of_an_argument(document: Any, marker: Path) -> None:
    node = next(each for each in graph_of(document)["nodes"] if "higher_order" in each["target"])
    node["inputs"].append({"name": f"a={code(marker)}, b", "arg": {"as_int": 1}, "kind": 2})


def a_function_for_an_operator(document: Any, marker: Path) -> None:
    graph_of(document)["nodes"][0]["target"] = "torch.os.system"


def a_module_for_an_operator(document: Any, marker: Path) -> None:
    graph_of(document)["nodes"][0]["target"] = "torch.ops.aten.__class__.__base__"


def an_operator_that_reads_files(document: Any, marker: Path) -> None:
    graph_of(document)["nodes"][0]["target"] = "torch.ops.aten.from_file.default"


def a_guard(document: Any, marker: Path) -> None:
    document["guards_code"] = [f"L['x'].size()[0] > 0 or {code(marker)}"]


def an_enumeration(document: Any, marker: Path) -> None:
    (marker.parent / "imported.py").write_text(code(marker))
    call = document["graph_module"]["module_call_graph"][0]["signature"]
    spec = json.loads(call["out_spec"])
    enumeration = {"__enum__": True, "fqn": "imported:E", "name": "A"}
    leaf = spec[1]
    call["out_spec"] = json.dumps(
        [1, {"type": "builtins.dict", "context": json.dumps([enumeration]), "children_spec": [leaf]}]
    )


EVALUATED = [
    (size_of_an_input, "no expression of sizes"),
    (size_of_a_value, "no expression of sizes"),
    (assumption_of_a_size, "no expression of sizes"),
    (name_of_a_size, "no expression of sizes"),
    (name_of_an_input, "which is no name"),
    (name_of_a_value, "which is no name"),
    (name_of_a_graph, "which is no name"),
    (name_of_an_argument, "which is no name"),
    (a_function_for_an_operator, "the program calls 'torch.os.system', which is no operator that is served"),
    (a_module_for_an_operator, "which is no operator that is served"),
    (an_operator_that_reads_files, "which is no operator that is served"),
    (a_guard, "cannot be checked here"),
    (an_enumeration, None),
]


@pytest.mark.parametrize(("change", "message"), EVALUATED, ids=lambda value: getattr(value, "__name__", None))
def test_nothing_of_the_program_is_evaluated(
    loader: Any,
    program: bytes,
    marker: Path,
    monkeypatch: Any,
    change: Callable[[Any, Path], None],
    message: str | None,
) -> None:
    monkeypatch.syspath_prepend(marker.parent)
    content = with_json(program, MODEL, lambda document: change(document, marker))
    if message is None:
        assert answer(load(loader, content)) == answer(load(loader, program))
    else:
        assert message in refusal(loader, content)
    assert not marker.exists()


@pytest.mark.parametrize("change", [size_of_a_value, name_of_an_input], ids=lambda value: value.__name__)
def test_torch_itself_would_have_evaluated_it(
    program: bytes, marker: Path, change: Callable[[Any, Path], None]
) -> None:
    """So these tests are about something."""
    content = with_json(program, MODEL, lambda document: change(document, marker))
    try:
        loaded = torch.export.load(io.BytesIO(content))
        loaded.module()(torch.ones(3, 4))
    except Exception:  # noqa: BLE001, S110 - after the fact
        pass
    assert marker.exists()


# --- damage -------------------------------------------------------------------------------------------------------------


def deep(members: dict[str, bytes]) -> None:
    members[MODEL] = b"[" * 100_000 + b"]" * 100_000


def no_program(members: dict[str, bytes]) -> None:
    del members[MODEL]


def two_programs(members: dict[str, bytes]) -> None:
    members["models/other.json"] = members["models/third.json"] = members.pop(MODEL)


def no_weights(members: dict[str, bytes]) -> None:
    del members["data/weights/weight_0"]


def no_list_of_weights(members: dict[str, bytes]) -> None:
    del members[WEIGHTS]


def no_weight_in_the_list(members: dict[str, bytes]) -> None:
    document = json.loads(members[WEIGHTS])
    del document["config"]["linear.bias"]
    members[WEIGHTS] = json.dumps(document).encode()


def weight(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        document = json.loads(members[WEIGHTS])
        change(document["config"]["linear.weight"])
        members[WEIGHTS] = json.dumps(document).encode()

    return apply


def member(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.__setitem__(name, content)


def schema(major: int) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        document = json.loads(members[MODEL])
        document["schema_version"]["major"] = major
        document["torch_version"] = "9.1"
        members[MODEL] = json.dumps(document).encode()

    return apply


def replaced(old: str, new: Any) -> Callable[[dict[str, bytes]], None]:
    """The program with something else under a key of its module."""

    def apply(members: dict[str, bytes]) -> None:
        document = json.loads(members[MODEL])
        document["graph_module"][old] = new
        members[MODEL] = json.dumps(document).encode()

    return apply


DAMAGED: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "leads out": (member("../../evil", b"x"), "has a member that leads out of it"),
    "leads out on Windows": (member("..\\evil", b"x"), "has a member that leads out of it"),
    "a newer archive": (member("archive_version", b"1"), "version '1' of the archive format, expected '0'"),
    "another archive": (member("archive_format", b"pt3"), "is a zip file, but no archive of torch.export"),
    "a newer program": (schema(9), "written by torch 9.1 with version 9."),
    "an older program": (schema(7), "written by torch 9.1 with version 7."),
    "no program": (no_program, "has neither a program of torch.export nor a package of AOTInductor"),
    "two programs": (two_programs, "has 2 models, 'other', 'third', and none is called 'model'"),
    "no JSON": (member(MODEL, b"{"), "models/model.json is no JSON"),
    "no text": (member(MODEL, b"\xff\xfe\x00"), "models/model.json is no JSON"),
    "too deep": (deep, "models/model.json is no JSON"),
    "a list": (member(MODEL, b"[]"), "its program is not as torch.export.save writes it"),
    "null": (member(MODEL, b"null"), "its program is not as torch.export.save writes it"),
    "no graph": (replaced("graph", {}), "its program is not as torch.export.save writes it"),
    "no signature": (replaced("signature", {"input_specs": [], "output_specs": []}), "its program is not as"),
    "no calls": (replaced("module_call_graph", []), "its program is not as torch.export.save writes it"),
    "weights missing": (no_weights, "has no member data/weights/weight_0"),
    "list of weights missing": (no_list_of_weights, "has no member data/weights/model_weights_config.json"),
    "weight missing in the list": (no_weight_in_the_list, "linear.bias"),
    "weights too short": (member("data/weights/weight_0", b"1234"), "its tensors are not as torch.export.save"),
    "weights of odd length": (member("data/weights/weight_0", b"123"), "its tensors are not as torch.export.save"),
    "weights empty": (member("data/weights/weight_0", b""), "is empty"),
    "weights elsewhere": (weight(lambda entry: entry.update(path_name="../../evil")), "its tensors are not as"),
    "weights out of bounds": (
        weight(lambda entry: entry["tensor_meta"].update(storage_offset={"as_int": 1})),
        "its tensors are not as torch.export.save",
    ),
    "weights before the bounds": (
        weight(lambda entry: entry["tensor_meta"].update(storage_offset={"as_int": -1})),
        "its tensors are not as torch.export.save",
    ),
    "weights of an unknown datatype": (
        weight(lambda entry: entry["tensor_meta"].update(dtype=77)), "its tensors are not as torch.export.save",
    ),
    "weights of another layout": (
        weight(lambda entry: entry["tensor_meta"].update(layout=1)), "its tensors are not as torch.export.save",
    ),
    "weights without description": (
        weight(lambda entry: entry.update(tensor_meta=None)), "its tensors are not as torch.export.save",
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", DAMAGED)
def test_a_damaged_file_is_a_clear_error(loader: Any, program: bytes, label: str) -> None:
    change, message = DAMAGED[label]
    text = refusal(loader, altered(program, change))
    assert "model.pt2" in text
    assert message in text


def test_a_program_beside_a_package_is_served(loader: Any, program: bytes, caplog: Any) -> None:
    content = altered(program, member("data/aotinductor/model/a.wrapper.so", b"never loaded"))
    assert answer(load(loader, content)) == answer(load(loader, program))
    assert "has a program of torch.export and a package of AOTInductor: the program is served" in caplog.text


def test_a_zip_bomb(loader: Any, program: bytes) -> None:
    bomb = altered(program, member("extra/zeros", bytes(10**7)), zipfile.ZIP_DEFLATED)
    assert "torch does not compress its archives" in refusal(loader, bomb)


def test_members_of_one_name(loader: Any, program: bytes) -> None:
    target = io.BytesIO(program)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(archive.namelist()[0], b"another")
    assert "has two members of one name" in refusal(loader, target.getvalue())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip file", b"PK\x05\x06" + bytes(18)])
def test_no_archive(loader: Any, content: bytes) -> None:
    assert "model.pt2 is " in refusal(loader, content)


def test_files_that_were_cut_or_changed(loader: Any, program: bytes) -> None:
    """Whatever byte is lost: an error that is the operator's, or a program that still answers."""
    for length in range(0, len(program), len(program) // 40):
        refusal(loader, program[:length])
    for place in range(7, len(program), len(program) // 60):
        changed = program[:place] + bytes([program[place] ^ 0x55]) + program[place + 1 :]
        try:
            answer(load(loader, changed))
        except ServingError as error:
            assert isinstance(error, InvalidArgumentError)


def test_a_torchscript_archive_and_a_state_dict(loader: Any) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(2)), buffer)
    assert "is a TorchScript archive: rename it to model.pt" in refusal(loader, buffer.getvalue())
    assert "is what torch.save makes" in refusal(loader, torch_pickle(nn.Linear(2, 2).state_dict()))


def places_of(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON document."""
    if isinstance(document, dict):
        return [path, *(each for key, value in document.items() for each in places_of(value, (*path, key)))]
    if isinstance(document, list):
        return [
            path,
            *(each for index, value in enumerate(document) for each in places_of(value, (*path, index))),
        ]
    return [path]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.slow
def test_a_program_with_anything_anywhere(loader: Any, program: bytes, marker: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(program)) as source:
        document = json.loads(source.read(f"{source.namelist()[0].partition('/')[0]}/{MODEL}"))
    chooser = random.Random(14)  # noqa: S311
    places = [path for path in places_of(document) if path]
    values: list[Any] = [
        None,
        {},
        [],
        "",
        -1,
        2**70,
        True,
        1.5,
        code(marker),
        [[]],
        {"as_int": -5},
        {"a": {"b": None}},
    ]
    outcomes = set()
    for _ in range(250):
        changed = put(document, chooser.choice(places), chooser.choice(values))
        content = with_member(program, MODEL, json.dumps(changed).encode())
        try:
            answer(load(loader, content))
            outcomes.add("served")
        except ServingError as error:
            outcomes.add(error.code.name)
        assert not marker.exists()
    assert "INVALID_ARGUMENT" in outcomes


def test_settings_are_for_pickles_alone(loader: Any, program: bytes, marker: Path) -> None:
    """Whoever allows pickles has not allowed expressions and names to be source code."""
    settings: Mapping[str, str] = {"allow-pickles": "true"}
    for change in (size_of_a_value, name_of_a_value):
        content = with_json(program, MODEL, lambda document, change=change: change(document, marker))
        with pytest.raises(InvalidArgumentError):
            load(loader, content, **settings)
    assert not marker.exists()
