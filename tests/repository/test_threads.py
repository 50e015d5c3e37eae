import os

import pytest

from kserve_v2.repository.preparing.threads import cpu_budget, cpu_quota, divide

V1_MEMBERSHIP = "11:memory:/pod\n4:cpu,cpuacct:/kubepods/pod1\n0::/\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="no control groups"),
        pytest.param({"/proc/self/cgroup": "0::/\n"}, None, id="root group has no cpu.max"),
        pytest.param(
            {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "200000 100000\n"},
            2.0,
            id="v2, two CPUs",
        ),
        pytest.param(
            {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"},
            None,
            id="v2, unlimited",
        ),
        pytest.param(
            {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n"},
            0.5,
            id="v2, half a CPU",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/user.slice/session.scope\n",
                "/sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
                "/sys/fs/cgroup/user.slice/session.scope/cpu.max": "400000 100000\n",
            },
            1.5,
            id="v2, nested: the outer quota is tighter",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/user.slice/session.scope\n",
                "/sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/user.slice/session.scope/cpu.max": "300000 100000\n",
            },
            3.0,
            id="v2, nested: only the inner one is limited",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/system.slice/docker-1.scope\n",
                "/sys/fs/cgroup/cpu.max": "250000 100000\n",
            },
            2.5,
            id="v2, path of the host, container's group mounted as the root",
        ),
        pytest.param(
            {"/proc/self/cgroup": "0::/../../pod2\n", "/sys/fs/cgroup/pod2/cpu.max": "100000 100000\n"},
            1.0,
            id="v2, path outside the cgroup namespace",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V1_MEMBERSHIP,
                "/sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_quota_us": "400000\n",
                "/sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_period_us": "100000\n",
            },
            4.0,
            id="v1",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V1_MEMBERSHIP,
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1.0,
            id="v1, container's group mounted as the root, joint controllers",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": V1_MEMBERSHIP,
                "/sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_period_us": "100000\n",
            },
            None,
            id="v1, unlimited",
        ),
        pytest.param(
            {"/proc/self/cgroup": "rubbish\n0::/\n", "/sys/fs/cgroup/cpu.max": "rubbish"},
            None,
            id="unreadable",
        ),
    ],
)
def test_quota_is_read_from_the_control_group_files(files: dict[str, str], expected: float | None) -> None:
    assert cpu_quota(files.get) == expected


@pytest.mark.parametrize(
    ("budget", "instances", "intra_op"),
    [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 2, 1), (2, 5, 1), (1, 1, 1), (4, 0, 4)],
)
def test_budget_is_divided_among_instances(budget: int, instances: int, intra_op: int) -> None:
    threads = divide(budget, instances)
    assert (threads.intra_op, threads.inter_op) == (intra_op, 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_budget_follows_the_affinity_of_the_process() -> None:
    allowed = os.sched_getaffinity(0)
    assert 1 <= cpu_budget() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cpu_budget() == 1
    finally:
        os.sched_setaffinity(0, allowed)
