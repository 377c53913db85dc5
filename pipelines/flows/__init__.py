"""Prefect flows and what they share."""
