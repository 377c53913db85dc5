"""Ids from outside as names of files."""

import re

from components.core.run.errors import AvisError

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


def safe_name(video_id: str) -> str:
    """Return `video_id` if it may become a file name.

    Raises:
        AvisError: if it holds anything but letters, digits, `_`, `-`, `.`, begins with a dot, holds `..`
            or is longer than 128 characters.
    """
    if not isinstance(video_id, str) or not _SAFE_NAME.fullmatch(video_id) or ".." in video_id:
        raise AvisError(
            f"video_id {str(video_id)[:160]!r} cannot be a file name",
            fix="Use 1 to 128 letters, digits, '_', '-' or '.', no leading dot and no '..'.",
        )
    return video_id
