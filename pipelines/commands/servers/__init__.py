"""This machine and servers."""
