"""Names of videos from outside, as folders and as ids in files of other programs."""

import re

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def plain_name(text: str) -> str:
    """Letters, digits, `_`, `-` and `.` only, at most 100 of them and no dot in front: safe in any file."""
    return re.sub(r"\.{2,}", ".", _NOT_PLAIN.sub("_", text))[:100].lstrip(".") or "video"
