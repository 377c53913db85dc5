"""Python processes that need not import the large libraries again: forked from one that has them (a zygote).

    with zygote() as python: subprocess.run([python, "-m", "dvc", "status"])

`python` is a small program that hands its arguments, folder, environment and open files to the zygote,
waits for the process that is forked there, and ends as that one does. That process imports all of our own
code anew. What differs from a real one: its parent is the zygote, its id not that of `python`, libraries have
read their environment before, and strings hash as in its siblings. So tests of ends, signals, imports and
starting times take `REAL_PYTHON`, as `python` itself does with other options than `-m`, `-c` and `-u`.
"""

import atexit
import gc
import importlib
import json
import multiprocessing
import os
import random
import runpy
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

REAL_PYTHON = sys.executable
LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "scipy.optimize", "cv2", "av", "PIL.Image", "tqdm"),
    *("torch", "torch._dynamo", "torchvision", "torch.distributed", "safetensors.torch"),
    *("msgspec", "pydantic", "jinja2", "matplotlib.figure", "pycocotools.mask", "multiprocessing.forkserver"),
    *("dvc.cli", "dvc.repo", "dvc.commands.repro", "mlflow", "mlflow.store.tracking.sqlalchemy_store"),
)
# Runs in an interpreter without site-packages: 20 ms.
PROGRAM = r"""#!{python} -IS
import os, sys
words = sys.argv[1:]
first = words[words[:1] == ["-u"]:][:1]
if not first or (first[0].startswith("-") and first[0] not in ("-m", "-c")):
    os.execv({python!r}, [{python!r}, *words])
import json, select, signal, socket
here = [int(name) for name in os.listdir("/proc/self/fd")]
files = []
for number in here:
    try:
        if os.get_inheritable(number):
            files.append(number)
    except OSError:  # that of the listing
        pass
zygote = socket.socket(socket.AF_UNIX)
zygote.connect({address!r})
# A handler may run only when the wait below has ended: what wakes it is a byte, the signal's number.
woken, wakes = socket.socketpair()
wakes.setblocking(False)
signal.set_wakeup_fd(wakes.fileno())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
asked = json.dumps([words, os.getcwd(), dict(os.environ), files]).encode()
socket.send_fds(zygote, [len(asked).to_bytes(4, "big")], files)
zygote.sendall(asked)
for number in files:
    os.close(number)
while zygote not in select.select([zygote, woken], [], [])[0]:
    zygote.send(woken.recv(1))
code = int.from_bytes(zygote.recv(4) or b"\0\0\0\x46", "big", signed=True)  # without the zygote: 70
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def start_zygote() -> tuple[str, "subprocess.Popen[bytes]"]:
    """Start one, which ends when nobody has its standard input open; whoever asks early waits for it.

    Returns the path of the program, whose folder may stand in PATH: it is called python.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [REAL_PYTHON, __file__]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    return server.stdout.readline().decode().strip(), server


@contextmanager
def zygote() -> Iterator[str]:
    """Start one for the length of a `with`; yields the path of the program."""
    program, server = start_zygote()
    with server:
        try:
            yield program
        finally:
            assert server.stdin is not None
            server.stdin.close()


class _Asked:
    """What one process is to be."""

    def __init__(self, connection: socket.socket) -> None:
        size, self.files, _, _ = socket.recv_fds(connection, 4, 253)
        with connection.makefile("rb") as stream:
            text = stream.read(int.from_bytes(size, "big"))
        self.words, self.folder, self.environment, self.numbers = json.loads(text)


def _serve(listener: socket.socket) -> _Asked | None:
    """Fork what is asked for; returns in each process that was forked, and None in the zygote at its end."""
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}  # by the file that tells of the end
    try:
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is listener:
                    connection = listener.accept()[0]
                    try:
                        asked = _Asked(connection)
                    except (ValueError, OSError):  # it was killed meanwhile
                        connection.close()
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", DeprecationWarning)  # Arrow's thread: see below
                        process = os.fork()
                    if process == 0:
                        for end, (_, other) in running.items():
                            os.close(end)
                            other.close()
                        running.clear()
                        connection.close()
                        listener.close()
                        return asked
                    for number in asked.files:
                        os.close(number)
                    end = os.pidfd_open(process)
                    running[end] = process, connection
                    waiting.register(end, selectors.EVENT_READ)
                    waiting.register(connection, selectors.EVENT_READ, end)
                elif key.data is None and key.fd in running:
                    process, connection = running.pop(key.fd)
                    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                    waiting.unregister(key.fd)
                    os.close(key.fd)
                    if connection in waiting.get_map():
                        waiting.unregister(connection)
                    with suppress(OSError):
                        connection.sendall(struct.pack("!i", code))
                    connection.close()
                elif key.data in running:
                    said = key.fileobj.recv(1)  # type: ignore[union-attr]
                    process = running[key.data][0]
                    if said:
                        os.killpg(process, said[0])
                    else:
                        waiting.unregister(key.fileobj)
                        os.killpg(process, signal.SIGKILL)
    finally:
        for process, _ in running.values():
            os.killpg(process, signal.SIGKILL)
        waiting.close()


def _become(asked: _Asked, program: str, path: list[str]) -> NoReturn:
    """Take over files, folder, environment and arguments, run, and end as Python does."""
    os.setpgid(0, 0)
    moved = [_above(number, 400) for number in asked.files]
    for number, wanted in zip(moved, asked.numbers, strict=True):
        os.dup2(number, wanted, inheritable=True)
        os.close(number)
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    random.seed()
    sys.modules["numpy"].random.seed()
    sys.executable = program
    multiprocessing.set_executable(program)
    multiprocessing.process.ORIGINAL_DIR = asked.folder  # type: ignore[attr-defined]
    more = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    if asked.words[0] == "-u":
        del asked.words[0]
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    first, code = asked.words[0], 0
    try:
        if first == "-m":
            sys.path[:] = [str(Path.cwd()), *more, *path]
            sys.argv[:] = asked.words[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.path[:] = ["", *more, *path]
            sys.argv[:] = ["-c", *asked.words[2:]]
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(asked.words[1], "<string>", "exec"), main.__dict__)
        else:
            sys.path[:] = [str(Path(first).resolve().parent), *more, *path]
            sys.argv[:] = asked.words
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit((code or 0) & 255)


def _above(number: int, least: int) -> int:
    import fcntl

    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, least)
    os.close(number)
    return moved


def _main(folder: str) -> None:
    path = sys.path[1:]  # without this file's folder
    address, program = f"{folder}/zygote", Path(folder, "bin", "python")
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=REAL_PYTHON, address=address))
    program.chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print(program, flush=True)
    for name in LIBRARIES:
        importlib.import_module(name)
    ours = {"models", "components", "pipelines"} & sys.modules.keys()
    assert not ours, f"a forked process would not import them itself: {ours}"
    gc.collect()
    gc.freeze()
    threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    threads = [name for name in threads if name != "jemalloc_bg_thd"]  # of Arrow, made anew in what is forked
    assert len(threads) == 1, f"a process with threads is not to be forked: {threads}"
    asked = _serve(listener)
    if asked is None:
        shutil.rmtree(folder)  # here only: what is forked runs what Python has to do at its exit
    else:
        _become(asked, str(program), path)


if __name__ == "__main__":
    _main(tempfile.mkdtemp())  # short: for a socket
