"""The commands of `avis`."""
