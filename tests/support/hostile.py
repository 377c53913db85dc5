"""Items that do to their process what strangers' files do."""

import ctypes

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
        ctypes.string_at(0)
    if name == "allocate":
        bytearray(50 << 30)
    while name == "loop":
        pass
    if name == "strange":
        raise Panic("as nobody foresaw")
