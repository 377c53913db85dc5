"""Faults that are made on purpose, against the system as it is set up here: `avis selftest`."""
