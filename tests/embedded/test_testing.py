"""`kserve_v2.testing`, as people's own tests use it: by pytest in a process of its own."""

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest_plugins = ["pytester"]

EXAMPLES = Path(__file__).parent.parent.parent / "model_repository"

TESTS = """
import httpx
import pytest
import kserve_v2

pytest_plugins = ["kserve_v2.testing"]
URLS = []

@kserve_v2.model(inputs={"x": ("FP32", [1])}, outputs={"y": ("FP32", [1])})
def double(x):
    print("asked")
    return x * 2

def test_a_repository(kserve_v2_server):
    server = kserve_v2_server("repository")
    URLS.append(server.url)
    assert httpx.get(server.url + "/v2/models/add_sub/ready").status_code == 200
    # Several at a time have ports of their own.
    assert kserve_v2_server(double, log_verbose=1).infer("double", x=[3])["y"].tolist() == [6]

def test_it_has_ended():
    with pytest.raises(httpx.ConnectError):
        httpx.get(URLS[0])

def test_that_fails(kserve_v2_server):
    assert kserve_v2_server(double).infer("double", x=[3])["y"].tolist() == [7]

def test_of_a_model_that_cannot_be_loaded(kserve_v2_server):
    kserve_v2_server("nosuch.py:Model")

@pytest.fixture(scope="session")
def shared(kserve_v2_session_server):
    return kserve_v2_session_server(double)

@pytest.mark.parametrize("number", [1, 2])
def test_shared(shared, number):
    URLS.append(shared.url)
    assert shared.infer("double", x=[number])["y"].tolist() == [2 * number]

def test_it_was_the_same():
    assert URLS[1] == URLS[2]
"""


def test_people_s_own_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    shutil.copytree(EXAMPLES / "add_sub", pytester.path / "repository" / "add_sub")
    found = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    found.assert_outcomes(passed=5, failed=2)
    # What the server has logged, and what the model has printed, stands with the failure.
    found.stdout.fnmatch_lines(["*loading: double version 1*"])
    found.stdout.fnmatch_lines(["*asked*"])
    found.stdout.fnmatch_lines(["*InvalidArgumentError: nosuch.py does not exist*"])


def test_who_does_not_ask_for_it_does_not_have_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(kserve_v2_server): pass")
    found = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*fixture 'kserve_v2_server' not found*"])
