"""A handler that does to its process, and says on its channels, what no model should, as `command` tells it."""

HANDLER = """
import ctypes, gc, os, resource, signal, subprocess, sys, threading, time
from pathlib import Path
import numpy as np

def hold():
    threading.Event().wait(600)

class Bomb:
    def __del__(self):
        raise RuntimeError("in __del__")

class Model:
    inputs = {"command": ("BYTES", [1]), "n": ("INT64", [1])}
    outputs = {"m": ("INT64", [1]), "pid": ("INT64", [1])}

    def load(self, context):
        self.context = context
        self.path = context.model_path
        if (self.path / ".hang_in_load").exists():
            (self.path / ".hangs").write_text(str(os.getpid()))
            hold()
        self.hangs_in_close = False

    def close(self):
        if self.hangs_in_close:
            hold()

    def __call__(self, inputs):
        name, _, argument = inputs["command"].item().decode().partition(" ")
        getattr(self, "do_" + name)(argument, inputs["n"])
        return {"m": 2 * inputs["n"], "pid": np.array([os.getpid()])}

    def do_fine(self, _, n):
        pass

    # --- on its channels

    def answer(self, ahead):
        # The execution that is under way is the last whose number it knows.
        from kserve_v2_child.executing import Executing
        from kserve_v2_child.channel.channel import Channel
        from kserve_v2_child.channel.messages import Kind
        from kserve_v2_child.serving import Conversation
        (conversation,) = [each for each in gc.get_objects() if isinstance(each, Conversation)]
        (number,) = conversation._executing._requests
        outputs = {"m": np.array([666]), "pid": np.array([0])}
        conversation.work.send(Kind.RESPOND, number + ahead, {}, [outputs])

    def sock(self):
        from kserve_v2_child.serving import Conversation
        (conversation,) = [each for each in gc.get_objects() if isinstance(each, Conversation)]
        return conversation.work._sock

    def later(self, what):
        thread = threading.Thread(target=lambda: (time.sleep(0.1), what()), daemon=True)
        thread.start()

    def do_answer_before(self, _, n):
        self.answer(-1)

    def do_answer_twice(self, _, n):
        self.answer(0)

    def do_answer_ahead(self, _, n):
        self.answer(1000)

    def do_garbage(self, _, n):
        self.sock().sendall(b"\\xff" * 1000)

    def do_garbage_later(self, _, n):
        sock = self.sock()
        self.later(lambda: sock.sendall(b"\\xff" * 1000))

    def do_hang_up_later(self, _, n):
        sock = self.sock()
        self.later(lambda: sock.shutdown(2))

    def do_side_garbage(self, _, n):
        from kserve_v2_child.channel.channel import Channel
        for each in gc.get_objects():
            if isinstance(each, Channel) and each._sock is not self.sock():
                each._sock.sendall(b"\\xff" * 1000)
        hold()

    # --- to its process

    def do_call_without_descriptors(self, _, n):
        # The answer comes in shared memory, of which no more can be had.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
        try:
            self.context.call("large", {"x": np.full(1, 2_000_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)

    def do_fork(self, _, n):
        if os.fork() == 0:
            hold()

    def do_fork_and_go_on(self, _, n):
        # The copy comes out of this call as well.
        os.fork()

    def do_print(self, _, n):
        for _ in range(5):
            print("x" * 1_000_000)
            print("y" * 1_000_000, file=sys.stderr)

    def do_chdir(self, _, n):
        os.chdir("/")

    def do_sys_exit(self, _, n):
        sys.exit(3)

    def do_thread_sys_exit(self, _, n):
        threading.Thread(target=sys.exit).start()

    def do_exit(self, _, n):
        os._exit(4)

    def do_close_fds(self, _, n):
        os.closerange(3, 4096)

    def do_close_std(self, _, n):
        os.closerange(0, 3)

    def do_threads(self, _, n):
        for _ in range(20):
            threading.Thread(target=hold).start()

    def do_del(self, _, n):
        Bomb()

    def do_segfault(self, _, n):
        ctypes.string_at(0)

    def do_eat(self, _, n):
        # As the kernel does it when memory runs out: at some allocation, without a word.
        limit = 2 * 2**30 + int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        eaten = []
        while True:
            eaten.append(np.empty(2**26, np.uint8))

    def do_ignore_signals(self, _, n):
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD, signal.SIGQUIT):
            signal.signal(each, signal.SIG_IGN)

    def do_signal_handlers(self, _, n):
        for each in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM):
            signal.signal(each, lambda *_: sys.exit(1))
        os.kill(os.getpid(), signal.SIGALRM)

    def do_start(self, argument, n):
        # Out of reach of its group.
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path(argument).write_text(str(child.pid))

    def do_stdin(self, _, n):
        sys.stdin.read()

    def do_umask_and_limits(self, _, n):
        os.umask(0o777)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))

    def do_hang_in_close(self, _, n):
        self.hangs_in_close = True

    def do_trace(self, _, n):
        def trace(*_):
            raise ValueError("in a trace function")
        threading.setprofile(trace)

    def do_excepthooks(self, _, n):
        def broken(*_):
            raise RuntimeError("a hook")
        sys.excepthook = sys.unraisablehook = threading.excepthook = broken
        Bomb()

    def do_stdout(self, _, n):
        sys.stdout = sys.stderr = None

    def do_modules(self, _, n):
        for name in [each for each in sys.modules if each.startswith(("kserve", "json"))]:
            del sys.modules[name]

    def do_tracing(self, _, n):
        gc.disable()
        gc.set_threshold(1)
        sys.setrecursionlimit(60)
"""
