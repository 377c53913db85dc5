"""Cells of a study: what decides their bytes, where they are computed, how long it will take."""
