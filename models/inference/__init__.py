"""Mask tracks from a network, for clips of any length."""
