"""Compose clips with exact masks from cut-out photographs, recorded sounds and backgrounds."""
