"""`kserve-v2 check` says of a repository what a server would say, without one; `kserve-v2 config` what it serves."""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kserve_v2.checking.formats import FORMATS
from kserve_v2.cli import main
from kserve_v2.commands import check
from tests.checking.broken import TENSORS, onnx
from tests.conftest import StartServer, WriteModel

pytestmark = pytest.mark.slow

DOUBLE = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 4
    def __call__(self, inputs):
        return {"y": inputs["x"] * 2}
"""


def ensemble(model: str, own: str = "x") -> str:
    return f"""
        platform: "ensemble" max_batch_size: 4
        input {{ name: "x" data_type: TYPE_FP32 dims: [1] }} output {{ name: "y" data_type: TYPE_FP32 dims: [1] }}
        ensemble_scheduling {{ step {{ model_name: "{model}" model_version: -1
          input_map {{ key: "{own}" value: "x" }} output_map {{ key: "y" value: "y" }} }} }}
    """


WRONG = {
    "levels": "dynamic_batching { priority_levels: 2 default_priority_level: 3 preserve_ordering: true }",
    "sequences": """sequence_batching { control_input { name: "S" control [
        { kind: CONTROL_SEQUENCE_START }, { kind: CONTROL_SEQUENCE_END int32_false_true: [0] } ] } }""",
    "states": """sequence_batching { state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [1]
        initial_state { name: "i" data_type: TYPE_FP32 dims: [1] data_file: "nosuch" } } }""",
    "ragged": 'batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "q" }',
    "cached": "response_cache { enable: true } sequence_batching { }",
    "labels": 'output { name: "y" data_type: TYPE_FP32 dims: [1] label_filename: "nosuch.txt" }',
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("checked")
    write_model(root, "double", DOUBLE)
    for name, text in WRONG.items():
        write_model(root, name, DOUBLE, text)
    write_model(root, "broken", "raise RuntimeError('on purpose')")
    for name, step, own in (
        ("whole", "double", "x"),
        ("around", "whole", "x"),
        ("crooked", "double", "q"),
        ("partly", "broken", "x"),
        ("astray", "nosuch", "x"),
        ("left", "right", "x"),
        ("right", "left", "x"),
    ):
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(ensemble(step, own))
    return root


def reported(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The errors that are reported of each model, word for word, as they stand in the JSON."""
    found: dict[str, list[str]] = {}
    for each in json.loads(capsys.readouterr().out)["findings"]:
        if each["level"] == "error":
            text = f"{each['field']}: {each['message']}" if each["field"] else each["message"]
            found.setdefault(each["model"], []).append(text)
    return found


def test_a_check_says_what_the_server_says(
    repository: Path, start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(repository), "--format", "json"], {}) == 1
    said = reported(capsys)
    server = start_server(repository)
    index = {entry["name"]: entry for entry in server.post("/v2/repository/index").json()}
    circle = {"left", "right"}
    for name, entry in index.items():
        assert (name not in said) == (entry["state"] == "READY"), name
        # The index has the kind of the error in front, here and in what is said of the models of steps.
        reason = entry.get("reason", "").partition(": ")[2].strip()
        reason = reason.replace("version 1 is at UNAVAILABLE state: Internal: ", "")
        if name not in circle:
            # A place in a handler is not in the text.
            reason = re.sub(r"^model.py, line \d+: ", "", reason)
            # Each piece is said in the same words; those of labels and files are said behind their field.
            left = reason
            for text in said.get(name, []):
                short = (
                    text.partition(": ")[2]
                    if text.startswith(("output[", "sequence_batching.state["))
                    else text
                )
                assert text in reason or short in reason, (name, text)
                left = left.replace(text, "").replace(short, "")
            assert not left.strip(" ;\n"), (name, left)
    assert set(index) - set(said) == {"double", "whole", "around"}
    assert "circular dependency between ensembles" in str(said["right"] + said["left"])


# --- the command line -------------------------------------------------------------------------------------------------


def test_nothing_wrong_is_status_0(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(repository), "around"], {}) == 0
    assert capsys.readouterr().out == "1 model checked: 0 errors, 0 warnings\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["REPO", "double", "whole"],
        ["REPO", "--format", "text", "double", "whole"],
        ["--model-repository", "REPO", "double", "whole"],
        ["double", "whole", "--model-repository=REPO"],
        [
            "--model-repository=REPO",
            "--model-control-mode=explicit",
            "--load-model=double",
            "--load-model=whole",
        ],
    ],
)
def test_models_are_chosen(argv: list[str], repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *(each.replace("REPO", str(repository)) for each in argv)], {}) == 0
    assert capsys.readouterr().out == "2 models checked: 0 errors, 0 warnings\n"


def test_the_environment_names_the_repository(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"], {"KSERVE_V2_MODEL_REPOSITORY": str(repository)}) == 1
    assert capsys.readouterr().out.endswith("15 models checked: 16 errors, 0 warnings\n")
    # What is written counts, as a flag does.
    assert main(["check", str(repository), "double"], {"KSERVE_V2_MODEL_REPOSITORY": "/no/such"}) == 0


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (
            ["check"],
            "nothing to serve: name a model or a repository, as in kserve-v2 serve model.onnx",
        ),
        (["check", "/no/such"], "/no/such does not exist; expected a repository, a model's folder, a file"),
        (
            ["check", "REPO", "dubble"],
            "no model repository has a directory of the name 'dubble', did you mean double?",
        ),
        (
            ["check", "REPO", "../x"],
            "invalid model name '../x', model name must not contain path traversal characters",
        ),
        (["check", "REPO", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["check", "REPO", "--cpus", "-1"], "argument --cpus: expected a whole number from 1, got '-1'"),
        (["check", "REPO", "--cpus=0"], "argument --cpus: expected a whole number from 1, got '0'"),
        (["check", "REPO", "--gpus=many"], "argument --gpus: expected a whole number, got 'many'"),
        (["check", "REPO", "--stict"], "unknown option --stict, did you mean --strict?"),
        (
            ["config", "REPO"],
            "expected one model: kserve-v2 config REPO MODEL, or kserve-v2 config FILE",
        ),
        (["config", "--model-repository=REPO"], "expected one model: kserve-v2 config REPO MODEL"),
        (["config", "REPO", "a", "b"], "expected one model: kserve-v2 config REPO MODEL"),
        (
            ["config", "REPO", "dubble"],
            "no model repository has a directory of the name 'dubble', did you mean double?",
        ),
        (
            ["config", "REPO", "double", "--model-version=7"],
            "--model-version: version 7 of 'double' is not served, but 1",
        ),
    ],
)
def test_a_wrong_command_line_is_status_2(
    argv: list[str], error: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([each.replace("REPO", str(repository)) for each in argv], {}) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {error}")


@pytest.mark.parametrize(("flags", "status"), [([], 0), (["--strict"], 1)])
def test_warnings_alone(flags: list[str], status: int, tmp_path: Path, write_model: WriteModel) -> None:
    write_model(
        tmp_path, "m", DOUBLE, 'parameters { key: "isolation_processes" value { string_value: "2" } }'
    )
    assert main(["check", str(tmp_path), *flags], {}) == status


def test_what_a_handler_prints_is_not_in_the_report(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(
        tmp_path, "m", "import os\nprint('one')\nos.write(1, b'two\\n')\nos.system('echo three')\n" + DOUBLE
    )
    command = [sys.executable, "-m", "kserve_v2", "check", str(tmp_path), "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, json.loads(ended.stdout)["findings"]) == (0, [])
    assert {"one", "two", "three"} <= set(ended.stderr.splitlines())


def test_a_handler_that_goes_elsewhere(tmp_path: Path, write_model: WriteModel) -> None:
    for name in ("a", "b"):
        write_model(tmp_path / "models", name, f"import os\nos.chdir('/')\nraise RuntimeError('{name}')\n")
    (tmp_path / "models" / "b" / "1" / os.fsdecode(b"\xff.onnx")).write_bytes(b"")
    (tmp_path / "models" / "c" / "1").mkdir(parents=True)
    for name in (b"\xff.onnx", b"\xfe.onnx"):
        (tmp_path / "models" / "c" / "1" / os.fsdecode(name)).write_bytes(b"")
    command = [sys.executable, "-m", "kserve_v2", "check", "models"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert [line.partition(": ")[0] for line in ended.stdout.splitlines()[:-1]] == [
        "models/a/1/model.py:3:1",
        "models/b/1/model.py:3:1",
        "models/c/1",
    ]
    assert "m/1/ has ?.onnx and ?.onnx".replace("m", "c") in ended.stdout


def test_a_gpu_that_is_not_there_is_a_warning_unless_the_machine_is_known(
    tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "m", DOUBLE, "instance_group { kind: KIND_GPU gpus: [ 3 ] }\nmax_batch_size: -2\n")
    write_model(tmp_path, "n", DOUBLE, "instance_group { kind: KIND_GPU gpus: [ 3 ] }\n")
    said = {}
    for flags in ((), ("--gpus=0",), ("--gpus=2",), ("--gpus=4",)):
        command = [sys.executable, "-m", "kserve_v2", "check", str(tmp_path), "--format", "json", *flags]
        environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
        findings = json.loads(ended.stdout)["findings"]
        said[flags] = sorted((each["model"], each["level"], each["field"]) for each in findings)
    kind, number, size = (
        "instance_group[0].kind",
        "instance_group[0].gpus[0]",
        ("m", "error", "max_batch_size"),
    )
    assert said[()] == [("m", "error", "max_batch_size"), ("m", "warning", kind), ("n", "warning", kind)]
    assert said["--gpus=0",] == [("m", "error", kind), size, ("n", "error", kind)]
    assert said["--gpus=2",] == [("m", "error", number), size, ("n", "error", number)]
    assert said["--gpus=4",] == [size]


@pytest.mark.parametrize("command", ["check", "config"])
def test_code_that_hangs_when_it_is_imported_is_ended(
    command: str, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "hangs", "import threading\nthreading.Event().wait()\n")
    argv = [sys.executable, "-m", "kserve_v2", command, str(tmp_path), "hangs", "--model-timeout", "1"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert (
        "hangs: error: its code was still running after 1 s, and was ended: it hangs when it is imported"
        in said
    )


def test_frameworks_are_imported_where_a_file_needs_them(tmp_path: Path, write_model: WriteModel) -> None:
    for name in ("clean", "wrong"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(onnx())
    (tmp_path / "wrong" / "config.pbtxt").write_text("max_batch_size: 8\ninstance_group { count: -2 }\n")
    write_model(tmp_path, "handler", DOUBLE)
    (tmp_path / "script" / "1").mkdir(parents=True)
    (tmp_path / "script" / "1" / "model.pt").write_bytes(b"PK")
    (tmp_path / "script" / "config.pbtxt").write_text(TENSORS)
    (tmp_path / "e" / "1").mkdir(parents=True)
    (tmp_path / "e" / "config.pbtxt").write_text(ensemble("handler"))
    code = """
import sys
from kserve_v2.cli import main
status = main(["check", *sys.argv[1:]], {})
print(status, [name for name in ("torch", "onnxruntime", "fastapi", "grpc") if name in sys.modules])
"""
    lines = []
    for flags in ([], ["--thorough"]):
        command = [sys.executable, "-c", code, str(tmp_path), *flags]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        lines.append(ended.stdout.splitlines()[-1])
    assert lines == ["1 []", "1 ['torch', 'onnxruntime']"]


def test_a_thorough_check_finds_what_only_the_framework_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(onnx().replace(b"Identity", b"Idantity"))
    assert main(["check", str(tmp_path)], {}) == 0
    assert main(["check", str(tmp_path), "--thorough"], {}) == 1
    assert "Idantity" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_thorough_check_opens_torchscript(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "m" / "1").mkdir(parents=True)
    torch.jit.script(torch.nn.Linear(4, 3)).save(tmp_path / "m" / "1" / "model.pt")
    tensor = "data_type: TYPE_FP32 dims: [ 4 ] }"
    inputs = [f'input {{ name: "{name}" {tensor} ' for name in ("a", "b")]
    (tmp_path / "m" / "config.pbtxt").write_text(f'{" ".join(inputs)} output {{ name: "y" {tensor}')
    assert main(["check", str(tmp_path)], {}) == 0
    assert main(["check", str(tmp_path), "--thorough"], {}) == 1
    assert "The file has forward(input: Tensor) -> Tensor" in capsys.readouterr().out


def test_what_an_exporter_has_written_beside_a_file_is_no_unread_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx())
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert main(["check", str(tmp_path), "--strict"], {}) == 0
    assert capsys.readouterr().out == "1 model checked: 0 errors, 0 warnings\n"


def test_what_is_in_an_archive_is_told_of_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "broken.zip").write_bytes(b"no archive")
    with zipfile.ZipFile(models / "m.zip", "w") as archive:
        archive.writestr("m/config.pbtxt", "max_batch_size: eight")
        archive.writestr("m/1/model.py", "")
    assert main(["check", str(models), "--staging-dir", str(tmp_path / "staging")], {}) == 1
    broken, written, _ = capsys.readouterr().out.splitlines()
    assert broken.startswith(f"{models}/broken.zip: error: broken.zip cannot be unpacked")
    assert written.startswith(f"{models}/m.zip/config.pbtxt:1:17: error: ")


def test_what_is_in_an_archive_of_models_is_told_of_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models.zip"
    with zipfile.ZipFile(models, "w") as archive:
        archive.writestr("m/config.pbtxt", "max_batch_size: eight")
        archive.writestr("m/1/model.py", "")
    assert main(["check", str(models), "--staging-dir", str(tmp_path / "staging")], {}) == 1
    assert capsys.readouterr().out.startswith(f"{models}/m/config.pbtxt:1:17: error: ")


def test_the_examples_are_right() -> None:
    models = Path(__file__).parent.parent / "model_repository"
    command = [sys.executable, "-m", "kserve_v2", "check", str(models), "--cpus", "4", "--gpus", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "10 models checked: 0 errors, 0 warnings\n")
    assert ended.stderr == ""


@pytest.mark.parametrize("command", ["check", "config"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"], {})
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.count(f"kserve-v2 {command} ") >= 3
    assert "Exit status: 0" in printed
    assert "--model-repository" in printed


def test_the_formats_of_the_command_line_are_those_that_there_are() -> None:
    assert tuple(FORMATS) == check.FORMATS


@pytest.fixture
def archived(tmp_path: Path, write_model: WriteModel) -> Path:
    """A folder with an archive that is one model, and one that has models in it."""
    write_model(tmp_path, "m", DOUBLE)
    with (
        zipfile.ZipFile(tmp_path / "one.zip", "w") as one,
        zipfile.ZipFile(tmp_path / "many.zip", "w") as many,
    ):
        for file in (tmp_path / "m").rglob("*.py"):
            one.write(file, file.relative_to(tmp_path / "m"))
            many.write(file, Path("a", file.relative_to(tmp_path / "m")))
    return tmp_path


@pytest.mark.parametrize(
    "argv", ["one.zip name", "one.zip --model-name name", "one.zip name --model-name name", "many.zip a"]
)
@pytest.mark.parametrize("command", ["check", "config"])
def test_an_archive_that_is_one_model_is_called_what_is_asked_for(
    command: str,
    argv: str,
    archived: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(archived)
    assert main([command, *argv.split(), "--staging-dir", str(archived / "staging")], {}) == 0
    name = "a" if argv == "many.zip a" else "name"
    said = (
        "1 model checked: 0 errors, 0 warnings\n"
        if command == "check"
        else f"# Model '{name}', version 1, as it is served."
    )
    assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (
            "config one.zip",
            "expected one model: kserve-v2 config REPO MODEL, or kserve-v2 config FILE; one.zip is one model without a "
            "name: kserve-v2 config one.zip NAME gives it one (",
        ),
        (
            "config many.zip",
            "expected one model: kserve-v2 config REPO MODEL, or kserve-v2 config FILE; there is a (",
        ),
        ("config many.zip zz", "no model repository has a directory of the name 'zz'; there is a\n"),
        ("check many.zip zz", "no model repository has a directory of the name 'zz'; there is a\n"),
        *(
            (
                f"{command} m name",
                "name does not exist, and behind m, which is one model, it names none: names of models stand behind a "
                "repository, or an archive .zip or .tar.gz",
            )
            for command in ("check", "config")
        ),
        ("config nosuch name", "nosuch does not exist"),
        ("config m name.onnx", "name.onnx does not exist; expected"),
        ("config one.zip a b", "expected one model: kserve-v2 config REPO MODEL"),
        ("config one.zip a --model-name b", "no model repository has a directory of the name 'a'"),
        ("config one.zip a many.zip", "expected one model: kserve-v2 config REPO MODEL"),
        ("config one.zip a --model m", "expected one model: kserve-v2 config REPO MODEL"),
        ("check one.zip a b", "the archive is one model, not a repository of models: give --model-name NAME"),
        (
            "check a --model-repository one.zip --model-repository many.zip",
            "the archive is one model, not a repository",
        ),
    ],
)
def test_what_cannot_be_the_name_of_an_archive(
    argv: str, error: str, archived: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archived)
    assert main([*argv.split(), "--staging-dir", str(archived / "staging")], {}) == 2
    assert capsys.readouterr().err.startswith(f"error: {error}")


# --- kserve-v2 config -------------------------------------------------------------------------------------------------

COMMENTED = """\
# Model 'm', version 2, as it is served.
name: "m"                         # by the name of m/
platform: "onnxruntime_onnx"      # by the name of net.onnx
backend: "onnxruntime"            # by the name of net.onnx
version_policy {                  # config.pbtxt:4
  all { }                         # config.pbtxt:4
}
max_batch_size: 6                 # --backend-config default-max-batch-size
input {                           # config.pbtxt:2
  name: "x"                       # config.pbtxt:2
  data_type: TYPE_FP32            # net.onnx
  dims: [ 4 ]                     # net.onnx
  optional: false                 # config.pbtxt:2
}
output {                          # net.onnx
  name: "y"                       # net.onnx
  data_type: TYPE_FP32            # net.onnx
  dims: [ 4 ]                     # net.onnx
}
optimization {                    # default of the server
  input_pinned_memory {           # default of the server
    enable: true                  # default of the server
  }
  output_pinned_memory {          # default of the server
    enable: true                  # default of the server
  }
}
dynamic_batching {                # net.onnx
  preferred_batch_size: [ 6 ]     # default of the server
}
instance_group {                  # default of the server
  name: "m"                       # default of the server
  kind: KIND_CPU                  # default of the server
  count: 2                        # default of the server
}
default_model_filename: "net.onnx"  # by the name of net.onnx
metric_tags {                     # config.pbtxt:5
  key: "team"
  value: "a \\"b\\""
}
parameters {                      # config.pbtxt:3
  key: "intra_op_thread_count"
  value {
    string_value: "1"             # config.pbtxt:3
  }
}
"""


@pytest.fixture
def graph_model(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        (tmp_path / "m" / version).mkdir(parents=True)
        (tmp_path / "m" / version / "net.onnx").write_bytes(onnx())
    (tmp_path / "m" / "config.pbtxt").write_text(
        '# a comment\ninput { name: "x" optional: false }\n'
        'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\nversion_policy { all { } }\n'
        "metric_tags { key: 'team' value: 'a \"b\"' }\n"
    )
    return tmp_path


def printed_config(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["config", *argv, "--backend-config", "onnxruntime,default-max-batch-size=6"], {}) == 0
    return capsys.readouterr().out


def test_a_configuration_is_printed_with_its_origins(
    graph_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    printed = printed_config(capsys, str(graph_model), "m")
    assert [line.split() for line in printed.splitlines()] == [
        line.split() for line in COMMENTED.splitlines()
    ]
    assert printed == printed_config(capsys, "m", "--model-repository", str(graph_model))
    first = printed_config(capsys, str(graph_model), "m", "--model-version", "1")
    assert first == printed.replace("version 2", "version 1")


def test_what_is_printed_is_a_configuration(graph_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written down, it says the same, and all of it comes from the file then."""
    printed = printed_config(capsys, str(graph_model), "m")
    whole = json.loads(printed_config(capsys, str(graph_model), "m", "--format", "json"))
    (graph_model / "m" / "config.pbtxt").write_text(printed)
    again = json.loads(printed_config(capsys, str(graph_model), "m", "--format", "json"))
    assert again["config"] == whole["config"]
    assert {origin["from"] for origin in again["origins"].values()} == {"file"}


def test_origins_in_json(graph_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed_config(capsys, str(graph_model), "m", "--format", "json"))
    assert (told["name"], told["version"], told["config"]["max_batch_size"]) == ("m", 2, 6)
    origins = told["origins"]
    assert origins["max_batch_size"] == {"from": "flag", "where": "--backend-config default-max-batch-size"}
    assert origins["input[0].name"] == {"from": "file", "where": "config.pbtxt", "line": 2, "column": 9}
    assert origins["input[0].dims"] == {"from": "model", "where": "net.onnx"}
    assert origins["backend"] == {"from": "name", "where": "net.onnx"}
    assert origins["instance_group[0].count"] == {"from": "default"}
    parameter = origins["parameters['intra_op_thread_count'].string_value"]
    assert (parameter["line"], parameter["from"]) == (3, "file")


def test_a_wrong_configuration_is_not_printed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", str(repository), "levels"], {}) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "levels/config.pbtxt:1:" in printed.err
    assert "default priority level must be in range [1, 2]" in printed.err


@pytest.mark.parametrize("name", ["double", "whole"])
def test_it_is_what_the_server_answers(
    name: str, repository: Path, start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", str(repository), name, "--format", "json"], {}) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == start_server(repository).get(f"/v2/models/{name}/config").json()


def test_models_of_the_same_name_in_two_repositories(
    tmp_path: Path, write_model: WriteModel, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "one", "m", DOUBLE, "max_batch_size: -1\n")
    write_model(tmp_path / "two", "m", DOUBLE)
    (tmp_path / "two" / "e" / "1").mkdir(parents=True)
    (tmp_path / "two" / "e" / "config.pbtxt").write_text(ensemble("m"))
    both = [f"--model-repository={tmp_path / name}" for name in ("one", "two")]
    assert main(["check", *both, "--model-namespacing", "--format", "json"], {}) == 1
    [wrong] = json.loads(capsys.readouterr().out)["findings"]
    assert (wrong["model"], wrong["line"], wrong["field"]) == ("one/m", 1, "max_batch_size")
    assert main(["check", "two/e", *both, "--model-namespacing"], {}) == 0
    assert main(["check", "m", *both, "--model-namespacing"], {}) == 2
    assert "There are 2 identifiers of model 'm'" in capsys.readouterr().err
    # Without it, nobody knows which one is meant.
    for command in (["check", "m"], ["config", "m"]):
        assert main([*command, *both], {}) == 1
        out, err = capsys.readouterr()
        places = " and ".join(str(tmp_path / name / "m") for name in ("one", "two"))
        assert f"error: model appears in two or more repositories: {places}\n" in out + err


@pytest.mark.slow
def test_a_folder_and_an_archive_of_one_name(
    tmp_path: Path, write_model: WriteModel, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "models", "m", DOUBLE)
    with zipfile.ZipFile(tmp_path / "models" / "m.zip", "w") as archive:
        archive.writestr("1/model.py", DOUBLE)
    staging = f"--staging-dir={tmp_path / 'staging'}"
    assert main(["check", str(tmp_path / "models"), staging], {}) == 1
    places = " and ".join(str(tmp_path / "models" / name) for name in ("m", "m.zip"))
    assert f"error: model appears in two or more repositories: {places}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_whoever_reads_may_stop(repository: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "kserve_v2", "check", str(repository)]
    try:
        ended = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert ended.returncode == 1
    assert "BrokenPipe" not in ended.stderr
    assert "Traceback" not in ended.stderr


ENDS = {
    "leaves": ("import os; os._exit(0)", "exit status 0"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
}


@pytest.mark.slow
def test_a_model_that_ends_the_process_is_an_error_of_that_model(
    tmp_path: Path, write_model: WriteModel
) -> None:
    for name, (code, _) in ENDS.items():
        write_model(tmp_path, name, code)
    # What the program says does not depend on what becomes of its interpreter behind that, either.
    write_model(tmp_path, "last", f"import atexit, os; atexit.register(lambda: os._exit(0))\n{DOUBLE}")
    write_model(tmp_path, "wrong", DOUBLE, "max_batch_size: -1")
    (tmp_path / "around" / "1").mkdir(parents=True)
    (tmp_path / "around" / "config.pbtxt").write_text(ensemble("leaves"))
    command = [sys.executable, "-m", "kserve_v2", "check", str(tmp_path), "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    assert report["models"] == 5
    said = {each["model"]: each["message"] for each in report["findings"] if each["level"] == "error"}
    for name, (_, how) in ENDS.items():
        assert said.pop(name) == f"its code has ended the process in which it was looked at, with {how}"
    assert "has ended the process" in said.pop("around")
    assert set(said) == {"wrong"}
    command[3:] = ["config", str(tmp_path), "leaves"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "leaves: error: its code has ended the process" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_check_that_is_ended_leaves_no_process(
    number: int, status: int, tmp_path: Path, write_model: WriteModel
) -> None:
    code = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(1000)"
    write_model(tmp_path, "waits", code)
    command = [sys.executable, "-m", "kserve_v2", "check", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        within = int(process.stderr.readline())
        process.send_signal(number)
        assert process.wait(60) == status
    with pytest.raises(ProcessLookupError):
        os.kill(within, 0)


@pytest.mark.slow
def test_names_of_files_do_nothing_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m\u202e" / "1").mkdir(parents=True)
    (tmp_path / "m\u202e" / "1" / "x\x1b[2J\n1 model checked: 0 errors\x9b.onnx").write_bytes(b"")
    for command in (["check"], ["check", "--format", "json"], ["config"]):
        operands = [str(tmp_path), *(["m\u202e"] if command == ["config"] else [])]
        assert main([command[0], *operands, *command[1:]], {}) == 1
        printed = capsys.readouterr()
        text = printed.out + printed.err
        assert "\\x1b[2J" in text or "\\u001b[2J" in text
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)
        assert "\n1 model checked: 0 errors\\" not in text
    assert main(["check", str(tmp_path), "n\x1b[2J"], {}) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_settings_of_mlserver_that_cannot_be_read_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lengths").mkdir()
    (tmp_path / "lengths" / "model-settings.json").write_text('{"name": "lengths"')
    assert main(["check", str(tmp_path)], {}) == 1
    assert "lengths: error: model-settings.json is no JSON: " in capsys.readouterr().out
