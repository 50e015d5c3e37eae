"""The version policy, as a table."""

import pytest

from kserve_v2.config import parse_config, select_versions


@pytest.mark.parametrize(
    ("policy", "available", "expected"),
    [
        ("", [1, 2, 10], (10,)),
        ("", [], ()),
        ("version_policy {}", [2, 1], (2,)),
        ("version_policy { latest { num_versions: 2 } }", [10, 2, 1], (2, 10)),
        ("version_policy { latest { num_versions: 5 } }", [1, 2], (1, 2)),
        ("version_policy { latest { num_versions: 0 } }", [1, 2], ()),
        ("version_policy { latest {} }", [1, 2], ()),
        ("version_policy { all {} }", [10, 1, 2], (1, 2, 10)),
        ("version_policy { specific { versions: [1, 7] } }", [1, 2], (1,)),
        ("version_policy { specific { versions: [7, 2, 1, 2] } }", [1, 2, 7], (1, 2, 7)),
        ("version_policy { specific {} }", [1, 2], ()),
    ],
)
def test_select_versions(policy: str, available: list[int], expected: tuple[int, ...]) -> None:
    assert select_versions(parse_config(policy, "c"), available) == expected
