"""Archives made by `torch-model-archiver`: what the server reads of them before any of their code runs."""

import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from kserve_v2_backends.torchserve.backend import TorchServeBackend
from kserve_v2_backends.torchserve.imports import missing_modules
from kserve_v2_child.answers import ModelError
from kserve_v2_child.torchserve.manifest import ManifestError, parse_manifest

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.environments.models import EnvironmentNotMadeError, ModelEnvironments
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.preparing.unpacked import UnpackedArchives
from kserve_v2.torchserve.archives import room_on, unpack_archive
from kserve_v2.torchserve.model_config import fill, instance_groups, parse_model_yaml, worker_settings
from tests.torchserve.support import archive, loaded, prepared

ECHO = "def handle(data, context):\n    return None if data is None else [row['body'] for row in data]\n"


@pytest.mark.parametrize("form", ["default", "zip-store", "tgz", "no-archive"])
def test_archives_of_all_forms_are_read(tmp_path: Path, form: str) -> None:
    path = archive(tmp_path, "echo", form=form, handler__py=ECHO, labels__txt="a", version="3.1")
    source, config = prepared(path)
    assert sorted(each.name for each in source.version_path.iterdir()) == [
        "MAR-INF",
        "handler.py",
        "labels.txt",
    ]
    assert config.parameters["handler"].string_value == "handler.py"
    assert (
        json.loads((source.version_path / "MAR-INF" / "MANIFEST.json").read_bytes())["model"]["modelVersion"]
        == "3.1"
    )
    if form == "no-archive":
        # Nothing is copied.
        assert (source.version_path, source.kept) == (path.resolve(), None)
    else:
        assert path.parent not in source.version_path.parents


@pytest.mark.parametrize(
    ("total", "free", "room"),
    [
        (100 << 30, 50 << 30, 49 << 30),  # a GiB is kept
        (2000, 1000, 900),  # a twentieth is
        (2000, 100, 0),
        (2000, 99, 0),
        (0, 0, 0),
    ],
)
def test_some_of_a_disk_is_kept_free(total: int, free: int, room: int) -> None:
    assert room_on(total, free) == room


def test_an_archive_that_would_fill_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    path = tmp_path / "huge.tgz"
    with tarfile.open(path, "w:gz") as packed:
        member = tarfile.TarInfo("huge/weights.pt")
        member.size = usage.total - usage.total // 100
        packed.addfile(member)
    with pytest.raises(InvalidArgumentError, match=r"what there is room for on its disk, .* are kept free"):
        unpack_archive(path, tmp_path / "into", "huge.tgz")
    assert list((tmp_path / "into").rglob("*.pt")) == []


def test_what_was_unpacked_is_there_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    path = archive(tmp_path, "echo", handler__py=ECHO)
    archives = UnpackedArchives()
    first, second = archives.unpack(path, "echo.mar"), archives.unpack(path, "echo.mar")
    place = first.path
    assert second.path == place
    del first
    assert (place / "handler.py").is_file()
    del second
    assert not place.exists()
    third = archives.unpack(path, "echo.mar")
    # As old, and as large, but another one.
    stamp = path.stat().st_mtime_ns
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp + 1))
    fourth = archives.unpack(path, "echo.mar")
    assert fourth.path != third.path
    archives.close()
    assert not third.path.parent.exists()


def zipped(members: dict[str, bytes], mode: int = 0) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, content)
    return written.getvalue()


def tarred(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as packed:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        packed.addfile(member)
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.mar", zipped({"../../escaped.py": b"x"}), "would lie outside"),
        ("x.mar", zipped({"/tmp/escaped.py": b"x"}), "would lie outside"),  # noqa: S108
        ("x.mar", zipped({"link": b"/etc/passwd"}, 0o120777), "is a link"),
        ("x.mar", b"no zip at all", "neither a zip nor a tar file"),
        ("x.mar", b"", "it is empty"),
        ("x.tgz", tarred("../escaped.py"), "outside"),
        ("x.tgz", tarred("link", tarfile.SYMTYPE, "target"), "is a link"),
        ("x.tar.gz", tarred("link", tarfile.LNKTYPE, "target"), "is a link"),
        (
            "x.mar",
            zipped({"a.py": b""}),
            "neither MAR-INF/MANIFEST.json nor parameters['handler'] names a handler",
        ),
        (
            "x.mar",
            zipped({"MAR-INF/MANIFEST.json": b'{"model": {"handler": "vllm_handler"}}'}),
            "handler 'vllm_handler' needs vLLM, and is not served here",
        ),
        ("x.mar", zipped({"MAR-INF/MANIFEST.json": b"{"}), "MAR-INF/MANIFEST.json is not JSON"),
        ("x.mar", zipped({"MAR-INF/MANIFEST.json": b"[]"}), "expected an object, got list"),
        (
            "x.mar",
            zipped(
                {
                    "MAR-INF/MANIFEST.json": b'{"model": {"handler": "base_handler", "serializedFile": "../w.pt"}}'
                }
            ),
            "model.serializedFile '../w.pt' leads out of the archive",
        ),
        (
            "x.mar",
            zipped(
                {"MAR-INF/MANIFEST.json": b'{"model": {"handler": "base_handler", "serializedFile": "w.pt"}}'}
            ),
            "names w.pt as serializedFile, and the archive has no such file",
        ),
        ("x.mar", zipped({"MAR-INF/MANIFEST.json": b'{"runtime": "LSP", "model": {}}'}), "runtime 'LSP'"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / name).write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=text.replace("[", r"\[").replace("]", r"\]")):
        prepared(inner / name)
    assert not list(tmp_path.rglob("escaped.py"))


def test_labels_in_a_file_that_is_called_like_the_manifest_are_not_it(tmp_path: Path) -> None:
    path = archive(tmp_path, "labels", handler__py=ECHO, manifest__json={"model": {"handler": "other.py"}})
    _, config = prepared(path)
    assert config.parameters["handler"].string_value == "handler.py"


def test_a_handler_that_is_named_goes_before_that_of_the_archive(tmp_path: Path) -> None:
    path = archive(
        tmp_path,
        "echo",
        handler__py=ECHO,
        other__py="def handle(data, context):\n    return ['other'] * len(data or [])\n",
    )
    with loaded(path, 'parameters { key: "handler" value { string_value: "other.py" } }') as handler:
        assert handler.ask(b"x") == [(b"other", {})]


def test_a_handler_file_without_a_manifest_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ECHO)
    with loaded(tmp_path / "mine.py") as handler:
        assert handler.ask(b"x") == [(b"x", {})]
        assert handler.worker._context.manifest == {}


def test_members_of_old_manifests_are_passed_over() -> None:
    text = b'{"specificationVersion": "1.0", "model": {"modelName": "m", "sourceVocab": "v.pt", "envelope": "json"}}'
    manifest = parse_manifest(text)
    assert (manifest.model_name, manifest.envelope, manifest.handler) == ("m", "json", "")
    with pytest.raises(ManifestError, match=r"model.modelName is int, expected a string"):
        parse_manifest(b'{"model": {"modelName": 1}}')


# --- handlers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "class A:\n    def handle(self, d, c): ...\nclass B:\n    def handle(self, d, c): ...\n",
            "has A, B",
        ),
        (
            "x = 1\n",
            "Expected only one class in custom service code or a function entry point; handler has none",
        ),
        ("class A:\n    def predict(self, d, c): ...\n", "class A has no method handle"),
    ],
)
def test_a_module_without_an_entry_is_refused(tmp_path: Path, code: str, text: str) -> None:
    with pytest.raises(ModelError, match=text), loaded(archive(tmp_path, "m", handler__py=code)):
        pass


def test_the_first_error_of_a_handler_is_the_one_that_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path, "m", handler__py="import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"), loaded(path):
        pass


def test_a_handler_that_is_nowhere_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    path = archive(tmp_path, "m", handler__py=ECHO)
    with (
        pytest.raises(
            InvalidArgumentError, match=r"there is no absent.py in the archive, .* image_classifier"
        ),
        loaded(path, 'parameters { key: "handler" value { string_value: "absent" } }'),
    ):
        pass


def test_inner_and_imported_classes_do_not_count(tmp_path: Path) -> None:
    code = """
from collections import OrderedDict

class Outer:
    class Inner:
        pass

    def handle(self, data, context):
        return ["outer"] * len(data)
"""
    with loaded(archive(tmp_path, "m", handler__py=code)) as handler:
        assert handler.ask(b"x") == [(b"outer", {})]


# --- model-config.yaml ----------------------------------------------------------------------------------------------


def filled(
    yaml: str, config: str = "", defaults: dict[str, Any] | None = None, gpus: int = 0
) -> tuple[ModelConfig, list[str]]:
    told: list[str] = []
    message = text_format.Parse(config, ModelConfig())
    whole = parse_model_yaml(yaml.encode(), "c.yaml")
    fill(message, worker_settings(whole, defaults or {}, "c.yaml", told.append), gpus)
    return message, told


def test_the_yaml_fills_what_a_configuration_leaves_open() -> None:
    config, told = filled(
        "minWorkers: 2\nmaxWorkers: 4\nbatchSize: 8\nmaxBatchDelay: 50\nresponseTimeout: 33\njobQueueSize: 5\n"
        "clientTimeoutInMills: 70\n"
    )
    assert told == []
    assert config.max_batch_size == 8
    assert config.instance_group[0].count == 2
    assert config.dynamic_batching.max_queue_delay_microseconds == 50_000
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 5
    assert config.dynamic_batching.default_queue_policy.default_timeout_microseconds == 70_000
    assert config.parameters["execution_timeout"].string_value == "33"


def test_a_configuration_goes_before_the_yaml_and_that_before_defaults() -> None:
    config, _ = filled(
        "minWorkers: 2\nbatchSize: 8\nresponseTimeout: 33\n",
        "max_batch_size: 3 instance_group { count: 5 kind: KIND_CPU }",
        {"batchSize": 9, "minWorkers": 7, "responseTimeout": 44, "maxBatchDelay": 20},
    )
    assert (config.max_batch_size, config.instance_group[0].count) == (3, 5)
    assert config.parameters["execution_timeout"].string_value == "33"
    assert config.dynamic_batching.max_queue_delay_microseconds == 20_000


def test_without_a_yaml_a_model_has_one_worker_and_no_batches() -> None:
    config, told = filled("")
    assert told == []
    assert (config.max_batch_size, config.instance_group[0].count) == (1, 1)
    assert not config.HasField("dynamic_batching")
    assert config.parameters["execution_timeout"].string_value == "120"


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("batchSize: many\n", "batchSize: expected a whole number from 1, got 'many': it is passed over"),
        ("batchSize: true\n", "batchSize: expected a whole number from 1, got True: it is passed over"),
        (
            "batchSize: 2147483648\n",
            "batchSize: expected a whole number up to 2147483647, got 2147483648: it is passed over",
        ),
        ("minWorkers: 3\nmaxWorkers: 2\n", "maxWorkers 2 is less than minWorkers 3: both are passed over"),
        ("deviceType: tpu\n", "deviceType: expected cpu or gpu, got 'tpu': it is passed over"),
        ("deviceIds: 0\n", "deviceIds: expected a list of numbers, got 0: it is passed over"),
        ("startupTimeout: 5\n", "startupTimeout has no effect here"),
    ],
)
def test_values_that_mean_nothing_are_told_and_passed_over(yaml: str, told: str) -> None:
    config, found = filled(yaml)
    assert found == [told]
    assert (config.max_batch_size, config.instance_group[0].count) == (1, 1)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("parallelType: pp", 'parallelType: "pp" is not served: .* one process for each worker.*: remove it'),
        ("torchrun: {nproc-per-node: 4}", 'torchrun: {"nproc-per-node": 4} is not served: .*: remove it'),
        (
            "sequenceBatching: true",
            "sequenceBatching: true is not served: .* set minWorkers and maxWorkers to 1",
        ),
        ("continuousBatching: true", "continuousBatching: true is not served: .*: remove it"),
        ("asyncCommunication: true", "asyncCommunication: true is not served: .*: remove it"),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(key: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"c.yaml: {told}"):
        filled(key)
    filled("parallelType: none\nsequenceBatching: false\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("- a\n", "expected keys and values, got list"),
        ("a: [\n", "is not YAML"),
        ("!!python/object:os.system x\n", "is not YAML"),
        ("a: &a\n  b: *a\n", "is not YAML: it refers to itself"),
        # A page that stands for a billion words, as lists and as keys that are merged.
        (
            "a: &a0 [lol]\n" + "".join(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)),
            "with its aliases written out it is larger than 16777216 bytes",
        ),
        (
            "a: &a0 {lol: 1}\n"
            + "".join(f"b{n}: &a{n + 1}\n  <<: [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)),
            "with its aliases written out it is larger than 16777216 bytes",
        ),
    ],
)
def test_what_is_no_yaml_is_refused(text: str, error: str) -> None:
    with pytest.raises(InvalidArgumentError, match=error):
        parse_model_yaml(text.encode(), "c.yaml")


@pytest.mark.parametrize(
    ("yaml", "gpus", "expected"),
    [
        ("minWorkers: 3", 0, [("KIND_CPU", 3, [])]),
        ("minWorkers: 3", 2, [("KIND_GPU", 2, [0]), ("KIND_GPU", 1, [1])]),
        ("minWorkers: 3\ndeviceType: cpu", 2, [("KIND_CPU", 3, [])]),
        ("minWorkers: 1\ndeviceType: gpu\ndeviceIds: [1, 0]", 2, [("KIND_GPU", 1, [1])]),
        ("minWorkers: 4\ndeviceIds: [3]", 4, [("KIND_GPU", 4, [3])]),
        ("minWorkers: 2\ndeviceType: gpu\ndeviceIds: [0, 1]", 0, [("KIND_CPU", 2, [])]),
    ],
)
def test_workers_go_to_devices_in_turn(yaml: str, gpus: int, expected: list[Any]) -> None:
    settings = worker_settings(parse_model_yaml(yaml.encode(), "c"), {}, "c", print)
    groups = instance_groups(settings, gpus)
    names = type(groups[0]).Kind.Name
    assert [(names(each.kind), each.count, list(each.gpus)) for each in groups] == expected


def test_the_whole_yaml_is_the_handler_s(tmp_path: Path) -> None:
    path = archive(
        tmp_path, "m", handler__py="def handle(data, context):\n    return [context.model_yaml_config] * len(data or [])\n",
        c__yaml="minWorkers: 1\nhandler: {a: [1, 2.5, x]}\n", config_file="c.yaml",
    )  # fmt: skip
    with loaded(path) as handler:
        assert handler.json(b"") == [{"minWorkers": 1, "handler": {"a": [1, 2.5, "x"]}}]


def test_a_model_has_a_process_of_its_own_only(tmp_path: Path) -> None:
    source = ModelSource("m", 1, tmp_path, tmp_path)
    with pytest.raises(InvalidArgumentError, match="process of its own only"):
        TorchServeBackend().load(source, ModelConfig())


def test_requirements_are_installed_where_the_model_asks_for_it(tmp_path: Path) -> None:
    path = archive(
        tmp_path, "m", handler__py=ECHO, needs__txt="idna\n", requirements_file="needs.txt"
    )  # fmt: skip
    environments = ModelEnvironments(None, {"HOME": str(tmp_path)}, make=False)
    source, config = prepared(path)
    assert environments.interpreter_for(source, config) is None
    config.parameters["install_requirements"].string_value = "true"
    with pytest.raises(EnvironmentNotMadeError):
        environments.interpreter_for(source, config)


NEEDS = """
import os.path
import helper
import nosuch_package.deep as deep
from nosuch_other import thing
from . import beside
from ts.torch_handler.base_handler import BaseHandler

try:
    import nosuch_attempt
except ImportError:
    nosuch_attempt = None

def handle(data, context):
    import nosuch_later
"""


def test_packages_that_a_handler_cannot_do_without_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared(archive(tmp_path, "needs", handler__py=NEEDS, helper__py=""))
    told = [each for each in caplog.messages if "imports" in each]
    assert [each.split(",")[0] for each in told] == [
        "model 'needs': handler.py imports nosuch_other",
        "model 'needs': handler.py imports nosuch_package",
    ]
    assert "is neither in the archive nor installed: install it" in told[0]


def test_nothing_is_said_of_a_model_that_has_packages_of_its_own_or_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files: dict[str, Any] = {
        "handler__py": NEEDS,
        "reqs__txt": "nosuch-other",
        "requirements_file": "reqs.txt",
    }
    prepared(archive(tmp_path, "own", **files))
    assert [each for each in caplog.messages if "imports" in each] == []
    (tmp_path / "broken.py").write_text("def")
    assert missing_modules(tmp_path / "broken.py", tmp_path) == []
    assert missing_modules(tmp_path / "nosuch.py", tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        "sys.path.append(os.path.dirname(__file__) + '/lib')",
        "site.addsitedir(os.path.dirname(__file__) + '/lib')",
        "sys.modules['nosuch_in_lib'] = os",
    ],
)
def test_nothing_is_said_of_a_file_that_says_itself_where_to_look(tmp_path: Path, line: str) -> None:
    (tmp_path / "handler.py").write_text(f"import os, site, sys\n{line}\nimport nosuch_in_lib\n")
    assert missing_modules(tmp_path / "handler.py", tmp_path) == []
