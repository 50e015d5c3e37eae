"""Every field of the schema is served, refused or warned about: found by walking the schema, not by a list."""

import re
from pathlib import Path

import pytest

from backends.pytorch import options as torch_options
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import ignored_fields, validate
from kserve_v2.config.files import named_files
from kserve_v2.config.support import FIELDS, READ_PARAMETERS, Support, refused_fields
from tests.config import schema
from tests.config.schema import LEAVES, NAMING_FILES, name, with_value

ROOT = Path(__file__).parent.parent.parent


def rows(path: schema.Path) -> list[str]:
    """The rows of the table that a field belongs to."""
    names = [name(path[:length]) for length in range(1, len(path) + 1)]
    return [row for row in names if row in FIELDS]


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_every_field_of_the_schema_has_its_row(path: schema.Path) -> None:
    assert len(rows(path)) == 1, f"say in config/support.py what becomes of {name(path)}"


def test_every_row_is_of_the_schema() -> None:
    assert {row for path in LEAVES for row in rows(path)} == set(FIELDS)


@pytest.mark.parametrize("backend", ["onnxruntime", "pytorch", "python", "third_party"])
@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_a_field_that_is_set_is_served_or_named(path: schema.Path, backend: str) -> None:
    config = with_value(path)
    if path[0].name != "backend":
        config.backend = backend
    [row] = rows(path)
    rule = FIELDS[row]
    # Paths as in messages, without their indexes and keys.
    refused = [problem.path.partition("[")[0].partition(".")[0] for problem in refused_fields(config)]
    ignored = [
        problem.path.partition("[")[0].partition(".")[0]
        for problem in ignored_fields(config)
        # What has no effect without another field is not the field's own business.
        if not problem.message.endswith(
            (
                "max_batch_size is 0",
                "priority_levels is 0",
                "set default_timeout_microseconds or allow_timeout_override",
                "only CONTROL_SEQUENCE_CORRID has a data_type",
            )
        )
    ]
    if row == "parameters.string_value" and backend in READ_PARAMETERS:
        # Which of them are read is the next test's.
        return
    acted_on = backend in rule.only or (rule.only and backend == "third_party")
    top = [path[0].name]
    assert refused == (top if rule.support is Support.REFUSED and not acted_on else [])
    assert ignored == (top if rule.support is Support.IGNORED and not acted_on else [])


def test_parameters_that_nobody_reads_are_named() -> None:
    for backend, own in (("onnxruntime", "intra_op_thread_count"), ("pytorch", "INFERENCE_MODE")):
        config = ModelConfig(backend=backend)
        for key in (own, "split_large_requests", "TYPO"):
            config.parameters[key].string_value = "1"
        [ignored] = ignored_fields(config)
        assert ignored.path == "parameters['TYPO']"
        assert own in ignored.message
        config.backend = "python"
        assert ignored_fields(config) == []


@pytest.mark.parametrize(("backend", "room"), [("onnxruntime", "onnx"), ("pytorch", "pytorch")])
def test_the_parameters_that_backends_read_are_known(backend: str, room: str) -> None:
    """Every name that a backend asks `parameters` for, by the text of its source."""
    source = "".join(file.read_text() for file in (ROOT / "backends" / room).rglob("*.py"))
    asked = set(
        re.findall(
            r"""(?:integer|boolean)\(\s*(?:parameters|parameter_texts\(config\)),\s*"([^"]+)\"""", source
        )
    )
    asked |= set(re.findall(r"""parameter_texts\(config\)\.get\("([^"]+)"\)""", source))
    constants = dict(re.findall(r"""^([A-Z_]+) = "([^"]+)"$""", source, re.MULTILINE))
    named = re.findall(
        r"(?:integer|boolean)\(\s*(?:parameters|parameter_texts\(config\)),\s*([A-Z_]+)", source
    )
    asked |= {constants[name] for name in named}
    if backend == "pytorch":
        asked |= set(torch_options.NAMES)
    assert asked == READ_PARAMETERS[backend]


def test_the_schema_names_files_where_we_know_it() -> None:
    assert {name(path) for path in NAMING_FILES} == {
        "default_model_filename",
        "cc_model_filenames",
        "output.label_filename",
        "model_warmup.inputs.input_data_file",
        "model_operations.op_library_filename",
        "sequence_batching.state.initial_state.data_file",
    }


@pytest.mark.parametrize("path", NAMING_FILES, ids=name)
@pytest.mark.parametrize("filename", ["../../x.py", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "a\0b"])
def test_a_name_that_leads_out_is_refused_wherever_it_stands(path: schema.Path, filename: str) -> None:
    config = with_value(path, filename)
    config.backend = "python"
    if path[0].name == "model_operations":
        assert "model_operations" in [problem.path for problem in ignored_fields(config)]
        return
    [place] = [place for place, named in named_files(config) if named]
    assert place in [problem.path for problem in validate(config, gpu_count=0)]


def test_a_parameter_that_is_nearly_one_that_is_read_says_which() -> None:
    config = ModelConfig(backend="onnxruntime")
    config.parameters["latency_budget"].string_value = "5"
    [ignored] = ignored_fields(config)
    assert ignored.message.endswith("did you mean 'latency_budget_ms'?")


def test_where_triton_s_models_get_their_tensors_cannot_be_chosen() -> None:
    config = ModelConfig(backend="python")
    config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
    [ignored] = ignored_fields(config)
    assert str(ignored) == (
        "parameters['FORCE_CPU_ONLY_INPUT_TENSORS']: is set but has no effect: models get their tensors in the CPU's "
        "memory"
    )
