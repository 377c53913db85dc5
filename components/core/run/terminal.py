"""Text of others on a terminal: run names, tags and paths may hold what moves the cursor or hides letters."""

import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, formats (also right-to-left), separators


def plain(text: object) -> str:
    """Return a text on one line; what a terminal would not show as a letter is written as its code."""
    return "".join(
        f"\\x{ord(sign):02x}" if unicodedata.category(sign) in _UNSEEN else sign for sign in str(text)
    )
