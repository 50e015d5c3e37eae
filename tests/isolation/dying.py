"""A handler that dies as it is told, in each row of `command`: what its name says. What it finds in the file `.load` is
hidden, so that it is none of its files.
"""

HANDLER = """
import ctypes, os, signal, subprocess, sys, threading, time
from pathlib import Path
import numpy as np

print("imported", flush=True)

def hold(seconds=600):
    threading.Event().wait(seconds)

class Model:
    inputs = {"command": ("BYTES", [1])}
    outputs = {"pid": ("INT64", [1])}
    max_batch_size = 8

    def load(self, context):
        self.path = context.model_path
        if (self.path / ".load").exists():
            os._exit(int((self.path / ".load").read_text()))

    def __call__(self, inputs):
        for command in inputs["command"].ravel():
            self.do(command.decode())
        return {"pid": np.full((len(inputs["command"]), 1), os.getpid())}

    def do(self, command):
        name, _, argument = command.partition(" ")
        if name.startswith("hang") and argument:
            Path(argument).touch()
        if name == "exit":
            os._exit(int(argument))
        elif name == "signal":
            os.kill(os.getpid(), int(argument))
            hold()
        elif name == "segfault":
            ctypes.string_at(0)
        elif name == "abort":
            ctypes.CDLL(None).abort()
        elif name == "hang_elsewhere":
            os.setpgid(0, os.getpgid(os.getppid()))
            hold()
        elif name == "hang":
            hold()
        elif name == "hang_gil":
            ctypes.PyDLL(None).sleep(600)
        elif name == "wait":
            # Until the test says so: a file.
            Path(argument + ".begun").touch()
            while not Path(argument).exists():
                time.sleep(0.005)
        elif name == "sys_exit":
            sys.exit(3)
        elif name == "close_fds":
            os.closerange(3, 4096)
        elif name == "chdir":
            os.chdir("/")
        elif name == "fork":
            if os.fork() == 0:
                hold()
        elif name == "start":
            Path(argument).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        elif name == "print":
            for _ in range(int(argument)):
                print("x" * 1_000_000)
                print("y" * 1_000_000, file=sys.stderr)
            sys.stdout.flush()
        elif name == "threads":
            for _ in range(10):
                threading.Thread(target=hold).start()
        elif name == "raise":
            raise ValueError(argument)
        elif name != "fine":
            raise ValueError(command)
"""


def commands(*rows: str, **more: object) -> dict[str, object]:
    """A request, one row for each command."""
    tensor = {"name": "command", "datatype": "BYTES", "shape": [len(rows), 1], "data": list(rows)}
    return {"inputs": [tensor], **more}


def parameters(**texts: str) -> str:
    """Parameters of a configuration."""
    return "\n".join(
        f'parameters {{ key: "{name}" value {{ string_value: "{text}" }} }}' for name, text in texts.items()
    )
