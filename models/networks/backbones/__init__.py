"""Backbones and their released weights."""
