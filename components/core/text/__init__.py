"""Texts on their way out: what is secret in them, and what a terminal would not show as letters."""
