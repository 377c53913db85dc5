"""What a fault that is tried may say: that it did harm, or that what it needs is not set up here."""


class NotSetUp(Exception):  # noqa: N818
    """The configuration has no such part; the message says which, and how one would be set up."""


class DidNotHold(Exception):  # noqa: N818
    """The fault did harm; the message says which."""


def hold(what: str, *, is_so: bool) -> None:
    """Raises DidNotHold unless something is so."""
    if not is_so:
        raise DidNotHold(what)
