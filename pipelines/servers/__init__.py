"""The servers of `avis up`: what runs, and who keeps it running (supervisor)."""
