"""`kserve-v2 archive`: what it writes is what the archivers of TorchServe write of the same options."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import kserve_v2
from kserve_v2.cli import main
from kserve_v2.commands.archive import COMMAND

REAL_MODELS = ("-m", "model_archiver.model_packaging")
REAL_WORKFLOWS = ("-m", "workflow_archiver.workflow_packaging")
MODEL = [
    "--model-name", "net", "-v", "1.0", "--handler", "code/handler.py", "--model-file", "code/model.py",
    "--serialized-file", "weights.pt", "--extra-files", "extra,labels/*.txt,index_to_name.json", "-r", "requirements.txt",
    "-c", "settings/model-config.yaml",
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what somebody has, as current directory."""
    for name, text in {
        "code/handler.py": "def handle(data, context): return data",
        "code/model.py": "class Net: pass",
        "code/helper.py": "",
        "weights.pt": "weights",
        "extra/vocab.json": "{}",
        "extra/manifest.json": '{"classes": {}}',
        "extra/sub/deeper/file.bin": "\0",
        "extra/sub/__pycache__/x.pyc": "not archived",
        "extra/.git/config": "not archived",
        "extra/__MACOSX/x": "not archived",
        "extra/.hidden": "archived",
        "labels/a.txt": "a",
        "labels/b.txt": "b",
        "labels/c.md": "not archived",
        "index_to_name.json": "{}",
        "requirements.txt": "numpy",
        "settings/model-config.yaml": "minWorkers: 1",
        "flow.yaml": "dag: {}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def members(archive: Path) -> dict[str, bytes]:
    """The files of an archive of any form. A manifest without what differs from one archive to the next."""
    if archive.is_dir():
        found = {
            path.relative_to(archive).as_posix(): path.read_bytes()
            for path in archive.rglob("*")
            if path.is_file()
        }
    elif archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            found = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr] - files
    else:
        with zipfile.ZipFile(archive) as packed:
            assert packed.testzip() is None
            assert packed.namelist()[-1].endswith("-INF/MANIFEST.json")
            found = {each: packed.read(each) for each in packed.namelist()}
    [manifest] = [name for name in found if name.endswith("MANIFEST.json")]
    document = json.loads(found[manifest])
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", document.pop("createdOn"))
    assert document.pop("archiverVersion")
    return found | {manifest: json.dumps(document, sort_keys=True).encode()}


def by_the_real_one(program: tuple[str, ...], *options: str) -> None:
    pytest.importorskip("model_archiver")
    pytest.importorskip("workflow_archiver")
    subprocess.run([sys.executable, *program, *options], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "name"),
    [("default", "net.mar"), ("tgz", "net.tar.gz"), ("zip-store", "net.mar"), ("no-archive", "net")],
)
def test_an_archive_has_the_members_that_torch_model_archiver_gives_it(
    here: Path, form: str, name: str
) -> None:
    (here / "real").mkdir()
    by_the_real_one(REAL_MODELS, *MODEL, "--archive-format", form, "--export-path", "real")
    assert main(["archive", *MODEL, "--archive-format", form, "--export-path", "ours"]) == 0
    assert members(Path("ours", name)) == members(Path("real", name))
    assert len(members(Path("ours", name))) == 13
    assert list(Path("ours").iterdir()) == [Path("ours", name)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "handler", ["image_classifier", "code/handler", "code/handler:serve_it", "code/handler.py"]
)
def test_a_handler_is_named_as_torch_model_archiver_names_it(here: Path, handler: str) -> None:
    (here / "real").mkdir()
    options = ["--model-name", "m-1.x", "--version", "2.0", "--handler", handler]
    by_the_real_one(REAL_MODELS, *options, "--export-path", "real")
    assert main(["archive", *options, "--export-path", "ours"]) == 0
    assert members(Path("ours/m-1.x.mar")) == members(Path("real/m-1.x.mar"))


def test_a_workflow_has_the_members_that_torch_workflow_archiver_gives_it(here: Path) -> None:
    (here / "real").mkdir()
    options = [
        "--workflow-name", "flow", "--spec-file", "flow.yaml", "--handler", "code/handler.py",
        "--extra-files", "code/helper.py,index_to_name.json",
    ]  # fmt: skip
    by_the_real_one(REAL_WORKFLOWS, *options, "--export-path", "real")
    assert main(["archive", *options, "--export-path", "ours"]) == 0
    assert members(Path("ours/flow.war")) == members(Path("real/flow.war"))


def test_the_function_does_what_the_command_does(here: Path) -> None:
    made = kserve_v2.archive_model(
        "net",
        version="1.0",
        handler="code/handler.py",
        extra_files=[here / "extra", "weights.pt"],
        archive_format="no-archive",
    )
    assert made == Path("net")
    assert sorted(path.name for path in made.iterdir()) == [
        ".hidden", "MAR-INF", "handler.py", "manifest.json", "sub", "vocab.json", "weights.pt",
    ]  # fmt: skip
    war = kserve_v2.archive_workflow("flow", spec_file="flow.yaml", export_path="wars")
    assert json.loads(members(war)["WAR-INF/MANIFEST.json"])["workflow"]["handler"] == ""
    # As any file that somebody makes here.
    assert stat.S_IMODE(war.stat().st_mode) == stat.S_IMODE((here / "flow.yaml").stat().st_mode)


def test_an_archive_that_is_there_is_replaced_by_force_only(here: Path) -> None:
    options = ["archive", "--model-name", "net", "--version", "1.0", "--handler", "base_handler"]
    for form, name in (("default", "net.mar"), ("no-archive", "net")):
        more = ["--archive-format", form]
        assert main([*options, *more, "--serialized-file", "weights.pt"]) == 0
        before = members(Path(name))
        assert main([*options, *more]) == 1
        assert members(Path(name)) == before
        assert main([*options, *more, "--force"]) == 0
        assert list(members(Path(name))) == ["MAR-INF/MANIFEST.json"]
    # A folder that is no archive is not replaced at all.
    assert main([*options[:2], "extra", *options[3:], "--archive-format", "no-archive", "-f"]) == 1
    assert Path("extra/vocab.json").is_file()
    assert [path for path in here.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--handler", "code/nothing.py"], "handler: code/nothing.py does not exist"),
        (
            ["--handler", "image_clasifier"],
            "there is no file image_clasifier.py, did you mean image_classifier?",
        ),
        (["--extra-files", "extra,nothing.json"], "--extra-files: nothing.json does not exist"),
        (
            ["--extra-files", "same"],
            "--extra-files: same/handler.py would be handler.py in the archive, and so is code/",
        ),
        (["--extra-files", "circle"], "circle/again is a link to a folder that it lies in itself"),
        (["--serialized-file", "extra"], "--serialized-file: extra is no file"),
        (
            ["--model-name", "../net"],
            "--model-name: expected letters, digits, '_', '-' and '.', beginning with a",
        ),
        (["--export-path", "weights.pt"], "--export-path: weights.pt is no folder"),
        (["--version", " "], "--version: expected one, such as 1.0"),
    ],
)
def test_what_cannot_be_archived_is_said_and_nothing_is_left(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    for name in ("same", "circle"):
        (here / name).mkdir()
    (here / "same/handler.py").write_text("another")
    (here / "circle/again").symlink_to(here / "circle")
    before = sorted(here.rglob("*"))
    usual = {"--model-name": "net", "--version": "1.0", "--handler": "code/handler.py"} | dict([options])
    assert main(["archive", *(word for option in usual.items() for word in option)]) == 1
    assert said in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected one of --model-name and --workflow-name"),
        (["--model-name", "m", "--workflow-name", "w"], "expected one of --model-name and --workflow-name"),
        (["--model-name", "m"], "missing: --version, --handler"),
        (["--workflow-name", "w"], "missing: --spec-file"),
        (
            ["--workflow-name", "w", "--spec-file", "f", "-r", "r.txt"],
            "--requirements-file belongs to models",
        ),
        (
            ["--model-name", "m", "-v", "1", "--handler", "h", "--spec-file", "f"],
            "--spec-file belongs to workflows",
        ),
    ],
)
def test_options_that_make_no_sense(
    capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["archive", *options]) == 2
    assert said in capsys.readouterr().err


def test_what_fits_no_pattern_and_what_is_there_twice(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is named with brackets is no pattern; one that is named twice is there once."""
    (here / "a[1].txt").write_text("x")
    made = kserve_v2.archive_model(
        "net",
        version="1.0",
        handler="code/handler.py",
        extra_files="a[1].txt, code ,*.nothing,,code/helper.py",
    )
    assert set(members(made)) == {"a[1].txt", "handler.py", "helper.py", "model.py", "MAR-INF/MANIFEST.json"}
    assert [each.getMessage() for each in caplog.records] == [
        "extra_files: no file fits the pattern *.nothing"
    ]


def test_a_name_that_no_archive_can_have(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "odd").mkdir()
    Path(os.fsdecode(os.fsencode(here / "odd") + b"/\xff")).write_text("")
    assert (
        main(["archive", "--model-name", "m", "-v", "1", "--handler", "base_handler", "--extra-files", "odd"])
        == 1
    )
    assert "is not in UTF-8" in capsys.readouterr().err


def test_the_examples_of_the_help_work(here: Path) -> None:
    for name in ("cats.pt", "handler.py", "vocab.json", "assets/x", "pipeline.yaml", "steps.py"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("")
    lines = COMMAND.examples.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line.strip().startswith("kserve-v2 ")]
    assert [main(command[1:]) for command in commands] == [0, 0, 0]
    assert all(
        Path(made).is_file() for made in ("cats.mar", "model_store/intent.mar", "model_store/pipeline.war")
    )
