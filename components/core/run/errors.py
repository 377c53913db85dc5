"""The one exception a user may see."""

from components.core.text.redaction import redact

_LONGEST = 2000  # characters: strangers write numbers of thousands of digits


class AvisError(Exception):
    """One clear message for the user: what is wrong, where, and what to do about it.

    The command line prints it without a traceback and exits with 1; a stage exits with 75 (EX_TEMPFAIL of
    sysexits.h) where `passing` says that the same may succeed on another try, with nothing mended. Its texts
    go to terminals, rows, tags and servers: they hold no secret.
    """

    def __init__(
        self, what: str, *, where: str | None = None, fix: str | None = None, passing: bool = False
    ) -> None:
        self.what = _short(redact(what))
        super().__init__(self.what)  # only `what` in args: the exception survives pickling between processes
        self.where = _short(redact(where)) if where else where
        self.fix = redact(fix) if fix else fix
        self.passing = passing

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        sentence = self.what.rstrip(". ") + place + "."
        return f"{sentence} {self.fix}" if self.fix else sentence


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"


_NO_MEMORY = (
    *("cannot allocate memory", "can't allocate memory", "insufficient memory", "bad_alloc"),
    *("cuda out of memory", "unable to allocate"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error means; libraries wrap the system's, or keep its words only."""
    if isinstance(error, MemoryError | AvisError):  # FFmpeg says so, too, of absurd sizes: judged already
        return isinstance(error, MemoryError)
    try:
        text = str(error).lower()
    except Exception:  # panics of Rust's bindings cannot say what they are
        return False
    return any(words in text for words in _NO_MEMORY)


class MachineError(AvisError):
    """A fault of this machine or its storage: no item of many is to blame, and going on makes no sense."""
