"""The list of forgotten videos; what forgetting removes: integration/test_forget.py."""

from pathlib import Path

from components.core.raw.forgotten import Forgotten, ForgottenVideos


def test_what_two_commands_forget_at_once_is_both_on_the_list(tmp_path: Path) -> None:
    path = tmp_path / "data" / "forgotten.csv"
    first, second = ForgottenVideos(path), ForgottenVideos(path)
    first.add([Forgotten("a", "", "2026-01-01", "asked")])
    second.add([Forgotten("b", "", "2026-01-01", "asked"), Forgotten("a", "", "2026-01-02", "again")])
    assert [row.video_id for row in ForgottenVideos(path).rows] == ["a", "b"]
    assert second.has("a", None) and not first.has("b", None)
