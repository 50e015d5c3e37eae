"""Importing handlers: many at a time, as a server with many models does."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kserve_v2_backends.eager.module import HandlerModule


def test_handlers_are_imported_and_closed_by_several_threads_at_once(tmp_path: Path) -> None:
    directories = [tmp_path / str(number) for number in range(8)]
    for number, directory in enumerate(directories):
        directory.mkdir()
        (directory / "model.py").write_text(
            "from neighbour import NUMBER\nimport neighbour, pickle, importlib\n"
            "def looked_up():\n"
            "    by_name = importlib.import_module('folder.part').NUMBER\n"
            "    return {pickle.loads(b'cneighbour\\nNUMBER\\n.'), by_name}\n"
        )
        (directory / "folder").mkdir()
        (directory / "folder" / "part.py").write_text("from neighbour import NUMBER\n")
        (directory / "neighbour.py").write_text(f"import email.message, json.tool\nNUMBER = {number}\n")

    def load_and_close(number: int) -> None:
        for _ in range(40):
            imported = HandlerModule(directories[number] / "model.py", f"m{number}", 1)
            assert number == imported.module.NUMBER == imported.module.neighbour.NUMBER
            assert imported.module.looked_up() == {number}
            imported.close()

    before = set(sys.modules)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(len(directories)) as pool:
            for result in [pool.submit(load_and_close, number) for number in range(len(directories))]:
                result.result()
    finally:
        sys.setswitchinterval(interval)
    assert not [name for name in set(sys.modules) - before if name.startswith("_handler_")]
