"""What is printed when the server answers: models, failures, options, URLs."""

from dataclasses import replace
from pathlib import Path

import pytest

from kserve_v2.logs.start_report import failures, models_table, options_list, ready_report
from kserve_v2.logs.terminal import Terminal, width_of
from kserve_v2.messages import IndexEntry
from kserve_v2.settings.settings import OPTIONS, Settings

ENTRIES = (
    IndexEntry("digits_onnx", "1", "READY", loaded_in_s=0.5),
    IndexEntry("broken", "3", "UNAVAILABLE", "Invalid argument: line 2: no such field"),
    IndexEntry("idle"),
)
TABLE = """\
+-------------+---------+-------------+-----------+
| Model       | Version | State       | Loaded in |
+-------------+---------+-------------+-----------+
| digits_onnx | 1       | READY       | 0.50 s    |
| broken      | 3       | UNAVAILABLE |           |
| idle        | -       | -           |           |
+-------------+---------+-------------+-----------+"""
URL = "http://127.0.0.1:8000"
SETTINGS = Settings(model_repository=(Path("models"),))
ADVICE = """\
To see all that is wrong, with file and line: kserve-v2 check models broken
The other models are served; until these are, the server says that it is not ready (unless --strict-readiness is \
false). --exit-on-error ends the start instead."""


def failed(reason: str, name: str = "m") -> IndexEntry:
    return IndexEntry(name, "1", "UNAVAILABLE", reason)


# --- models -----------------------------------------------------------------------------------------------------


def test_the_models_table_is_aligned() -> None:
    assert models_table(ENTRIES) == TABLE


def test_names_of_wide_letters_are_aligned_too() -> None:
    lines = models_table(
        [IndexEntry("数字", "1", "READY"), IndexEntry("mode\u0300le", "1", "READY")]
    ).splitlines()
    assert {width_of(line) for line in lines} == {len(lines[0])}


def test_states_have_colours_where_there_are_some_and_the_text_is_the_same() -> None:
    coloured = models_table(ENTRIES, Terminal(80, coloured=True))
    assert "\x1b[32mREADY\x1b[0m" in coloured
    assert "\x1b[1;31mUNAVAILABLE\x1b[0m" in coloured
    plain = coloured
    for code in ("0", "1", "2", "32", "1;31"):
        plain = plain.replace(f"\x1b[{code}m", "")
    assert plain == TABLE


@pytest.mark.parametrize("width", [60, 70, 200])
def test_a_narrow_terminal_does_not_break_the_table(width: int) -> None:
    entries = [
        replace(
            IndexEntry("a_model_with_a_rather_long_name", "1", "READY"), note="60.8 KiB, warmed up in 1.20 s"
        ),
        failed("word " * 100, "other"),
    ]
    lines = models_table(entries, Terminal(width)).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= width
    assert "".join(line.split("|")[1].strip() for line in lines[3:-2]) == "a_model_with_a_rather_long_name"


# --- failures ---------------------------------------------------------------------------------------------------


def test_a_failure_says_what_where_and_what_to_do() -> None:
    assert failures(ENTRIES, SETTINGS) == (
        f"Not loaded:\n  broken version 3\n    line 2: no such field\n{ADVICE}"
    )


def test_no_failures_no_text() -> None:
    assert failures([IndexEntry("m", "1", "READY"), IndexEntry("idle")], SETTINGS) == ""


def test_a_reason_keeps_its_lines_and_is_not_wrapped_in_a_pipe() -> None:
    long = "word " * 60 + "end"
    text = failures([failed(f"Internal: two problems\ninput[0]: a\n{long}")], SETTINGS)
    assert text.splitlines()[1:5] == ["  m version 1", "    two problems", "    input[0]: a", f"    {long}"]


def test_a_reason_is_wrapped_on_a_terminal_and_what_is_to_be_pasted_is_not() -> None:
    repository = Path("/a/very/long/path/to/the/repository/of/models")
    settings = Settings(model_repository=(repository,))
    lines = failures([failed("word " * 30)], settings, Terminal(50)).splitlines()
    command = [line for line in lines if line.endswith(f"kserve-v2 check {repository} m")]
    assert len(command) == 1
    assert max(len(line) for line in lines if line not in command) <= 50
    assert " ".join(lines).count("word") == 30


def test_a_very_long_reason_is_cut_and_says_where_the_rest_is() -> None:
    lines = failures([failed("word\n" * 300)], SETTINGS, Terminal(80, symbols=True)).splitlines()
    assert lines.index("    … (the repository index has the whole reason)") == 2 + 7
    assert "…" not in failures([failed("word\n" * 300)], SETTINGS)


def test_of_a_thousand_failures_some_are_shown_and_all_are_counted() -> None:
    text = failures([failed("x", f"m{number}") for number in range(1000)], SETTINGS)
    assert text.count("version 1") == 20
    assert "and 980 more" in text
    assert "kserve-v2 check models m0 m1 m2 m3 m4\n" in text


def test_a_reason_does_not_reach_the_terminal_as_colours_and_cursor_movements() -> None:
    text = failures([failed("you have \x1b[1mtwo\x1b[0m options\x07,\x1b]0;t")], SETTINGS)
    assert "you have two options,]0;t" in text
    assert "\x1b" not in text + models_table([IndexEntry("a\x1bb", "1", "READY")])


def test_where_the_start_ends_nobody_is_told_that_the_others_are_served() -> None:
    text = failures(ENTRIES, replace(SETTINGS, exit_on_error=True))
    assert text.endswith("kserve-v2 check models broken")


def test_where_nothing_is_served_nobody_is_told_of_others_and_a_single_file_is_checked_as_such() -> None:
    settings = Settings(model=("a b.onnx",))
    text = failures([failed("x", "a")], settings)
    assert "kserve-v2 check 'a b.onnx'\nNo model is served." in text
    assert "The other models" not in text


def test_a_look_at_the_files_is_recommended_where_it_shows_more() -> None:
    """Not for what came out when a model was loaded and warmed up."""
    began = replace(failed("failed to run warmup sample 'a'", "warm"), began=True)
    text = failures([began, IndexEntry("m", "1", "READY")], SETTINGS)
    assert "kserve-v2 check" not in text
    assert "\nThe other models are served" in text
    assert text.splitlines()[:3] == ["Not loaded:", "  warm version 1", "    failed to run warmup sample 'a'"]
    assert "kserve-v2 check models m\n" in failures([began, failed("x")], SETTINGS)


def test_a_command_that_would_not_do_is_not_given() -> None:
    two = Settings(model_repository=(Path("a"), Path("b")))
    assert "kserve-v2 check, with the options of this server" in failures(ENTRIES, two)


# --- options ----------------------------------------------------------------------------------------------------


def test_options_that_differ_are_shown_with_their_defaults() -> None:
    settings = Settings(
        model_repository=(Path("a"), Path("b")), http_port=9000, backend_config={"onnxruntime": {"x": "1"}}
    )
    assert options_list(settings) == (
        "Options that differ from the defaults (--log-verbose 1 shows all):\n"
        "  --model-repository  a b\n"
        "  --http-port         9000 (default 8000)\n"
        "  --backend-config    onnxruntime,x=1"
    )


def test_verbose_logs_show_every_option() -> None:
    lines = options_list(replace(SETTINGS, log_verbose=1)).splitlines()
    assert lines[0] == "Options:"
    assert [line.split()[0] for line in lines[1:]] == [option.flag for option in OPTIONS]
    assert "  --http-port" in {line.partition("  8000")[0].rstrip() for line in lines}


# --- all of it --------------------------------------------------------------------------------------------------


def test_the_report_has_models_failures_options_urls_and_a_line_to_paste_in_this_order() -> None:
    urls = {"REST": URL, "gRPC": "127.0.0.1:8001"}
    assert ready_report(ENTRIES, SETTINGS, urls, "curl -s x") == (
        f"{TABLE}\n\n{failures(ENTRIES, SETTINGS)}\n\n{options_list(SETTINGS)}\n\n"
        "REST  http://127.0.0.1:8000\ngRPC  127.0.0.1:8001\n\nTry it:\ncurl -s x"
    )


def test_an_empty_repository_is_told_how_to_make_a_model(tmp_path: Path) -> None:
    settings = Settings(model_repository=(tmp_path,))
    assert ready_report((), settings, {"REST": URL}, None) == (
        "There are no models in the repository. To make one: kserve-v2 init NAME --template handler "
        f"--model-repository {tmp_path}\n\n{options_list(settings)}\n\nREST  {URL}"
    )


def test_an_empty_model_store_is_no_place_for_other_models(tmp_path: Path) -> None:
    settings = Settings(model_repository=(tmp_path,), torchserve=True)
    said = ready_report((), settings, {"REST": URL}, None)
    assert said.startswith(
        "No archive is served. --models all loads all of the model store, --models FILE.mar one of"
    )
