"""Saved and released models, and the names of their parameters."""
