"""Processes that do items within limits."""
