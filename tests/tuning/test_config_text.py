"""A candidate in the user's own text: what is written means what was measured, and all else is as it was."""

from dataclasses import dataclass

import pytest
from google.protobuf import text_format

from kserve_v2.config import parse_config
from kserve_v2.tuning.candidate import NO_BATCHING, OWN_CHOICE, Candidate
from kserve_v2.tuning.config_text import Wanted, changed_config, changed_text

THREADS = "intra_op_thread_count"
START = Candidate(8, 0, 1, 1)
REMARK = "# kserve-v2 analyze: faster\n"

WHOLE = """\
# mine
max_batch_size: 8  # rows
output [ { name: "y" label_filename: "labels.txt" } ]
dynamic_batching {
  # none
  max_queue_delay_microseconds: 0
  default_queue_policy { max_queue_size: 5 }
}
instance_group [ { count: 1  kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }  # few
parameters { key: "mine" value { string_value: "a" } }
"""


@dataclass(frozen=True)
class Case:
    """A text, the candidate that won, and the text that comes of it."""

    text: str
    candidate: Candidate
    expected: str
    start: Candidate = START
    splits: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Case(WHOLE, START, WHOLE),
        Case(
            WHOLE,
            Candidate(32, 500, 2, 4),
            WHOLE.replace("max_batch_size: 8", "max_batch_size: 32")
            .replace("microseconds: 0", "microseconds: 500")
            .replace("count: 1 ", "count: 2 ")
            .replace('string_value: "1"', 'string_value: "4"'),
        ),
        # Threads by default: the parameter goes with its line, and the remark about it.
        Case(WHOLE, START._replace(threads=0), WHOLE.replace(WHOLE.splitlines(keepends=True)[9], "")),
        Case(
            "",
            Candidate(16, 500, 2, 2),
            "max_batch_size: 16\ndynamic_batching { max_queue_delay_microseconds: 500 }\ninstance_group { count: 2 }\n"
            'parameters { key: "intra_op_thread_count" value { string_value: "2" } }\n',
            Candidate(4, 0, 1, 0),
        ),
        # What is larger is cut into parts as before, when the server had chosen the size.
        Case(
            "# no end of line",
            Candidate(16, 0, 1, 1),
            '# no end of line\nmax_batch_size: 16\nparameters { key: "split_large_requests" value { string_value: "true" } }\n',
            splits=True,
        ),
        Case(
            "dynamic_batching { }\ninstance_group { kind: KIND_CPU }\n",
            Candidate(8, 500, 2, 1),
            "dynamic_batching { max_queue_delay_microseconds: 500 }\ninstance_group { count: 2 kind: KIND_CPU }\n",
        ),
        Case(
            "dynamic_batching { max_queue_delay_microseconds: 7 }\n",
            START._replace(delay_us=OWN_CHOICE),
            "dynamic_batching { max_queue_delay_microseconds: 0 }\n"
            'parameters { key: "latency_budget_ms" value { string_value: "20" } }\n',
            START._replace(delay_us=7),
        ),
        Case(
            'dynamic_batching { }\nparameters { key: "latency_budget_ms" value { string_value: "9" } }\n',
            START._replace(delay_us=500),
            "dynamic_batching { max_queue_delay_microseconds: 500 }\n",
            START._replace(delay_us=OWN_CHOICE),
        ),
        Case(
            "max_batch_size: 1\n",
            Candidate(8, 0, 1, 1),
            "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 0 }\n",
            Candidate(1, NO_BATCHING, 1, 1),
        ),
    ],
)
def test_only_what_changes_is_written_anew(case: Case) -> None:
    wanted = Wanted(case.candidate, case.start, THREADS, 20.0, case.splits)
    text = changed_text(case.text, wanted, "faster")
    assert text == REMARK + case.expected
    assert parse_config(text, "x") == changed_config(parse_config(case.text, "x"), wanted)


@pytest.mark.parametrize(
    "text",
    [
        # A group in other brackets, and parameters in one list, of which one goes.
        "instance_group < kind: KIND_CPU >\n",
        'parameters [ { key: "intra_op_thread_count" value { string_value: "1" } }, { key: "a" value { string_value: "b" } } ]',
        'instance_group [ { name: "{" kind: KIND_CPU } ]',
    ],
)
def test_what_cannot_be_edited_is_written_as_a_whole_and_means_the_same(text: str) -> None:
    wanted = Wanted(Candidate(8, 0, 4, 0), START, THREADS, None, False)
    found = changed_text(text, wanted, "faster")
    expected = changed_config(parse_config(text, "x"), wanted)
    assert found.startswith(REMARK)
    assert parse_config(found, "x") == expected
    assert expected.instance_group[0].count == 4
    assert THREADS not in expected.parameters


def test_there_is_one_remark_however_often_it_is_done() -> None:
    once = changed_text(
        WHOLE, Wanted(START._replace(max_batch_size=16), START, THREADS, None, False), "faster"
    )
    now = START._replace(max_batch_size=16)
    twice = changed_text(once, Wanted(now._replace(max_batch_size=32), now, THREADS, None, False), "again")
    assert twice.count("kserve-v2 analyze") == 1
    assert twice.startswith("# kserve-v2 analyze: again\n# mine\n")
    assert text_format.MessageToString(parse_config(twice, "x"))
