"""Pictures and sound out of and into video files."""
