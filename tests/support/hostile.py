"""Items that do to their process what strangers' files do."""

import ctypes
import faulthandler

from components.core.run.workers.confinement import memory_bytes

WAYS = ("segfault", "allocate", "loop", "strange")
CAUSES = {
    "segfault": ("crashed", "SIGSEGV"),
    "allocate": ("too_heavy", "more memory than a worker may have"),
    "strange": ("unexpected", "Panic"),
}


class Panic(BaseException):
    """As PyO3's: no Exception."""


def attack(name: str) -> None:
    """What the name says; nothing if it says nothing of the kind."""
    if name == "segfault":
        faulthandler.disable()  # pytest's, in what is forked from it
        ctypes.string_at(0)
    if name == "allocate":
        bytearray(memory_bytes(1) + (1 << 30))
    while name == "loop":
        pass
    if name == "strange":
        raise Panic("as nobody foresaw")
