"""What a worker process may take of the machine: memory, processor time, size of files, the network.

Limits for the faults of native code on files of strangers, set by the process itself and for good. They are
no wall around code that has taken the process over: see docs/security.md.
"""

import ctypes
import os
import platform
import resource
import stat
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LEAST_MEMORY_BYTES = 4 << 30  # of a worker: pictures of 8K, the sound of twelve hours, PyTorch
_MOST_MEMORY_SHARE = 0.8
_KILLED_FIRST = "500"  # of 1000, for the kernel out of memory: a worker rather than the stage

# linux/seccomp.h, linux/filter.h, linux/audit.h
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # EACCES
_X32 = 0x40000000
# By machine: its audit number, seccomp's own number, and what is refused: socket, connect, io_uring_setup
# (which opens sockets, too), and what reaches into other processes: ptrace, process_vm_readv and _writev,
# pidfd_getfd.
_CALLS = {
    "x86_64": (0xC000003E, 317, (41, 42, 425, 101, 310, 311, 438)),
    "aarch64": (0xC00000B7, 277, (198, 203, 425, 117, 270, 271, 438)),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may take.

    memory: whether its memory is limited; not with a GPU, whose driver may map what the limit counts.
    network: whether it may open connections.
    cpu_s: processor time of one item, of all its threads together; None: no limit.
    file_bytes: of each file that it writes; None: no limit.
    """

    memory: bool = True
    network: bool = True
    cpu_s: float | None = None
    file_bytes: int | None = None


def confine(limits: Limits, workers: int | None) -> None:
    """Hold this process to limits; `workers` such processes, or one per core, share the machine.

    Memory is what it writes to and shares with nobody (RLIMIT_DATA): what libraries, CUDA and threads only
    reserve does not count. Linux alone knows it, and how the network is closed.
    """
    _lower(resource.RLIMIT_CORE, 0)  # a memory image of gigabytes, with whatever secrets the process has
    if not sys.platform.startswith("linux"):
        return
    if limits.memory:
        _lower(resource.RLIMIT_DATA, memory_bytes(workers))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST)
    if not limits.network:
        _close_network()


def allow(limits: Limits) -> None:
    """Set what one item may take: processor time from now on (then SIGXCPU), and files of what size."""
    if limits.cpu_s is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _soften(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + limits.cpu_s) + 1)
    if limits.file_bytes is not None:
        _soften(resource.RLIMIT_FSIZE, limits.file_bytes)


def _soften(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def memory_bytes(workers: int | None) -> int:
    """What one of so many workers (None: one per core) may take of the machine's or container's memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroup, or "max"
            total = min(total, int(Path(file).read_text()))
    share = total / (workers or len(os.sched_getaffinity(0)))
    return int(min(_MOST_MEMORY_SHARE * total, max(_LEAST_MEMORY_BYTES, share)))


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(kind, (limit, hard))


def _close_network() -> bool:
    """Refuse new connections to all threads of this process, and end those that it was forked with.

    Returns:
        Whether the kernel does it: not where seccomp is left out or this processor is not known here.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode) and _is_inet(number):
                os.dup2(nothing, number)  # not closed: whoever holds the number would close another file
    os.close(nothing)
    if platform.machine() not in _CALLS:
        return False
    machine, seccomp, refused = _CALLS[platform.machine()]
    # BPF (code, jump if true, jump if false, value): other machines' calls and refused ones end in EACCES.
    lines = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, 0)]
    lines += [(_IF_AT_LEAST, len(refused) + 1, 0, _X32)]
    lines += [(_IF_EQUAL, len(refused) - place, 0, call) for place, call in enumerate(refused)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    kernel = ctypes.CDLL(None)
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(kernel.syscall(seccomp, _SET_MODE_FILTER, _ALL_THREADS, program) == 0)


def _is_inet(number: int) -> bool:
    import socket

    with socket.socket(fileno=os.dup(number)) as found:
        return found.family != socket.AF_UNIX
