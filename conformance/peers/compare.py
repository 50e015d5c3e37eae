"""Run the suite against every peer, one after the other, and write the tables that compare them.

    python conformance/peers/compare.py DIRECTORY

DIRECTORY gets NAME.json, NAME.html and a badge NAME.svg for each server, table.md and table.html. What a server
fails is a result, not a failure of this script.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from peer import HERE, PEERS, suite_environment


def main() -> None:
    """See the module's docstring."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    reports = [directory / f"{peer}.json" for peer in PEERS]
    if shutil.which("java") is None:
        sys.exit("TorchServe needs Java 17, and there is no java on the PATH")
    for peer, report in zip(PEERS, reports, strict=True):
        report.unlink(missing_ok=True)
        script = HERE / f"run_{peer.replace('-', '_')}.py"
        options = [f"--report={report.with_suffix(suffix)}" for suffix in (".json", ".html", ".svg")]
        subprocess.run([sys.executable, str(script), *options], check=False)  # noqa: S603
        if not report.is_file():
            sys.exit(f"{peer}: no report was written")
    command = [sys.executable, "-m", "kserve_v2_conformance", "compare", *map(str, reports)]
    for table in ("table.md", "table.html"):
        subprocess.run([*command, "-o", str(directory / table)], env=suite_environment(), check=True)  # noqa: S603


if __name__ == "__main__":
    main()
