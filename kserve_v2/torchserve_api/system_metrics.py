"""What TorchServe measures of the machine, when it is asked for."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from kserve_v2.metrics.text import Family
from kserve_v2.torchserve_api.counters import HOSTNAME, help_text

_MB, _GB = 1 << 20, 1 << 30
_LABELS = {"Level": "Host", "Hostname": HOSTNAME}


@dataclass(slots=True)
class SystemMetrics:
    """Of one server. What cannot be told on this system is left out."""

    _busy: int = 0
    _all: int = 0

    def families(self) -> list[Family]:
        """All of them. Reads a few small files; of the CPU it is what was used since the last time."""
        return [*self._cpu(), *_memory(), *_disk()]

    def _cpu(self) -> list[Family]:
        try:
            numbers = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return []
        whole = sum(numbers)
        busy = whole - numbers[3] - numbers[4]
        since = whole - self._all
        share = 100.0 * (busy - self._busy) / since if since > 0 else 0.0
        self._busy, self._all = busy, whole
        return [_gauge("CPUUtilization", "Percent", round(share, 2))]


def _memory() -> list[Family]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return []
    sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if len(line.split()) > 1}
    whole, free = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    if not whole:
        return []
    return [
        _gauge("MemoryUsed", "Megabytes", (whole - free) / _MB),
        _gauge("MemoryAvailable", "Megabytes", free / _MB),
        _gauge("MemoryUtilization", "Percent", round(100.0 * (whole - free) / whole, 2)),
    ]


def _disk() -> list[Family]:
    try:
        usage = shutil.disk_usage("/")
    except OSError:
        return []
    return [
        _gauge("DiskUsage", "Gigabytes", usage.used / _GB),
        _gauge("DiskUtilization", "Percent", round(100.0 * usage.used / usage.total, 2)),
        _gauge("DiskAvailable", "Gigabytes", usage.free / _GB),
    ]


def _gauge(name: str, unit: str, value: float) -> Family:
    family = Family(name, "gauge", help_text("gauge", unit))
    family.add(_LABELS, value)
    return family
