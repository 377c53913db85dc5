"""The one exception a user may see."""


class AvisError(Exception):
    """One clear message for the user: what is wrong, where, and what to do about it.

    The command line prints it without a traceback and exits with 1.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)  # only `what` in args: so the exception survives pickling between processes
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        sentence = self.what.rstrip(". ") + place + "."
        return f"{sentence} {self.fix}" if self.fix else sentence
